//! `options.encryption`: how an API server is restarted that does not load a new encryption
//! configuration by itself.

use super::document::{ClusterError, Document};
use super::file;

/// What `options.encryption` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestartCommand(Vec<String>);

impl RestartCommand {
    pub(super) fn new(
        document: &Document,
        file: file::Encryption,
    ) -> Result<Option<Self>, ClusterError> {
        let words = file.restart_command;
        let odd = words
            .iter()
            .position(|word| word.is_empty() || word.contains(|c: char| c.is_control()));
        if let Some(index) = odd {
            let message = "is no word of a command; give the program and each argument by itself, as in \
                           `[systemctl, restart, kube-apiserver]`";
            return Err(document.error_at(&format!("{FIELD}[{index}]"), message));
        }
        Ok((!words.is_empty()).then_some(Self(words)))
    }

    /// The program and its arguments, run as root.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

const FIELD: &str = "options.encryption.restart_command";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::cluster::Cluster;

    fn read(command: &str) -> Result<Vec<String>, String> {
        let text = format!(
            "name: a\nservice_subnet: 10.0.0.0/16\n\
             nodes: [{{address: 10.0.0.1, user: u, control_plane: true}}]\n\
             options: {{encryption: {{restart_command: {command}}}}}\n"
        );
        let cluster = Cluster::parse(Path::new("cluster.yml"), text.as_bytes());
        let cluster = cluster.map_err(|error| error.to_string())?;
        let command = cluster.options.restart_command;
        Ok(command.map_or_else(Vec::new, |command| command.words().to_vec()))
    }

    #[test]
    fn a_command_is_words() {
        assert_eq!(read("[a, 'b c']").unwrap(), ["a", "b c"]);
        assert_eq!(read("[]").unwrap(), [""; 0]);
        assert_eq!(read("").unwrap(), [""; 0]);
        for odd in ["['']", "[a, \"b\\n\"]", "systemctl restart a"] {
            let error = read(odd).unwrap_err();
            assert!(error.starts_with("cluster.yml:4:"), "{error}");
        }
    }
}

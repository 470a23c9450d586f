//! `nodedns import-unbound FILE`: an unbound.conf as a `nodedns.yml`, on standard output.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use daemon::exit::Failure;

use crate::config::unbound::{self, Imported};

/// Prints the translation: what a person should know first, as comments, then the file.
///
/// # Errors
/// `path` cannot be read, or is no unbound.conf.
pub(crate) fn run(path: &Path, out: &mut impl Write) -> Result<ExitCode, Failure> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}"))
        .map_err(Failure::usage)?;
    let imported =
        unbound::import(&text).map_err(|error| Failure::usage(anyhow!("{shown}: {error}")))?;
    print(&imported, out).map_err(Failure::failed)?;
    Ok(ExitCode::SUCCESS)
}

fn print(Imported { file, remarks }: &Imported, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "# Translated from an unbound.conf. `nodedns check` says whether it is good."
    )?;
    if !remarks.is_empty() {
        writeln!(out, "#\n# Lines without a counterpart:")?;
    }
    for remark in remarks {
        // What a line says is a comment here, whatever is in it.
        let word: String = remark.word.chars().filter(|c| !c.is_control()).collect();
        writeln!(
            out,
            "#   {}  {}: {word}",
            remark.line,
            remark.option.escape_debug()
        )?;
    }
    write!(out, "{}", daemon::config_file::to_yaml(file)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;

    #[test]
    fn the_remarks_are_comments_of_a_file_that_can_be_read() {
        let text = "server:\n so-rcvbuf: 4m\n \"a\u{1b}[1m\": x\n";
        assert!(unbound::import(text).is_err());
        let imported =
            unbound::import("server:\n so-rcvbuf: 4m\n trust-anchor: \". DS\"\n").unwrap();
        let mut out = Vec::new();
        print(&imported, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("#   2  so-rcvbuf: "), "{text}");
        let file: File = daemon::config_file::parse(Path::new("f"), &text).unwrap();
        assert_eq!(file, imported.file);
    }
}

//! The edge of a program: a command line in; one sentence and an exit code out.
//!
//! `2` says that what a person wrote (flag, file, field) is wrong, `1` that the
//! world was not as needed (a port in use, a server out of reach).

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use crate::config_file::ConfigError;

/// Why a program ends without success.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// None when the reason is on the terminal already.
    error: Option<anyhow::Error>,
}

impl Failure {
    /// A mistake in a flag, a file or a field: exit code 2.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self::with_code(2, error)
    }

    /// Anything else that failed: exit code 1.
    pub fn failed(error: impl Into<anyhow::Error>) -> Self {
        Self::with_code(1, error)
    }

    /// A failure with an exit code of its own, for commands whose codes have a
    /// meaning (`control plan` keeps 1 for "there are changes").
    pub fn with_code(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: Some(error.into()),
        }
    }

    /// A failure that has been reported already, line by line.
    #[must_use]
    pub const fn reported(code: u8) -> Self {
        Self { code, error: None }
    }

    /// This failure under another exit code, unless it is one of usage.
    #[must_use]
    pub fn or_code(mut self, code: u8) -> Self {
        if self.code != 2 {
            self.code = code;
        }
        self
    }
}

/// The sentence; empty when it has been reported.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error:#}"),
            None => Ok(()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

/// Prints what went wrong, if anything did, and gives the exit code.
#[must_use]
pub fn report(program: &str, outcome: Result<ExitCode, Failure>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            if let Some(error) = &failure.error {
                eprintln!("{program}: {error:#}");
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Parses the command line. `Err` carries what `main` returns at once: success
/// after `--help` or `--version`, exit code 2 after a mistake; clap has printed
/// the text.
///
/// # Errors
/// The command line asks for help, or is wrong.
pub fn parse<C: clap::Parser>(
    args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<C, Result<ExitCode, Failure>> {
    C::try_parse_from(args).map_err(|error| {
        // A closed terminal must not turn --help into a failure.
        let _ = error.print();
        if error.use_stderr() {
            Err(Failure::reported(2))
        } else {
            Ok(ExitCode::SUCCESS)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[arg(long)]
        listen: Option<String>,
    }

    #[test]
    fn usage_is_2_and_failure_is_1() {
        let code = |failure| format!("{:?}", report("test", Err(failure)));
        assert_eq!(
            code(Failure::usage(anyhow::anyhow!("x"))),
            format!("{:?}", ExitCode::from(2))
        );
        assert_eq!(
            code(Failure::failed(anyhow::anyhow!("x"))),
            format!("{:?}", ExitCode::from(1))
        );
    }

    #[test]
    fn a_command_with_codes_of_its_own_keeps_usage_at_2() {
        assert_eq!(Failure::failed(anyhow::anyhow!("x")).or_code(3).code, 3);
        assert_eq!(Failure::usage(anyhow::anyhow!("x")).or_code(3).code, 2);
    }

    #[test]
    fn unknown_flag_ends_with_2_and_help_with_0() {
        let ended = parse::<Cli>(["test", "--lisen", "x"]).unwrap_err();
        assert_eq!(ended.unwrap_err().code, 2);
        let ended = parse::<Cli>(["test", "--help"]).unwrap_err();
        assert!(ended.is_ok());
        assert_eq!(
            parse::<Cli>(["test", "--listen", "x"]).unwrap().listen,
            Some("x".to_owned())
        );
    }
}

//! The program `control`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::exit::report("control", control::run(std::env::args_os()))
}

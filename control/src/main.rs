//! The control command line; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::exit::report("control", control::run(std::env::args_os()))
}

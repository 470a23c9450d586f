//! `rivers`, the program: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::exit::report("rivers", rivers::run(std::env::args_os()))
}

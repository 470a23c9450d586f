//! `nodedns`: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::exit::report("nodedns", nodedns::run(std::env::args_os()))
}

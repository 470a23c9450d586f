//! `nodedns`: see the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    daemon::exit::report("nodedns", nodedns::run(std::env::args_os()))
}

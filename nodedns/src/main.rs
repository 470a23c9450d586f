//! `nodedns`: see the library.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Some kernels give huge pages to those who do not ask for them either. One that refuses costs memory only.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    daemon::exit::report("nodedns", nodedns::run(std::env::args_os()))
}

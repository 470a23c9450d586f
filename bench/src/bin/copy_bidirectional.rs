//! The plainest proxy that tokio gives: `copy_bidirectional` for each connection, on one thread. What rivers
//! is compared with beside HAProxy and nginx.
//!
//! Usage: `copy_bidirectional LISTEN UPSTREAM`

use std::{env, io};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(listen), Some(upstream)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other(
            "usage: copy_bidirectional LISTEN UPSTREAM",
        ));
    };
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (mut client, _) = listener.accept().await?;
            let upstream = upstream.clone();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(upstream).await else {
                    return;
                };
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                // How it ended is the client's to see.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    })
}

//! One address for several servers: connections go to them in turn, past those that refuse.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The address. It ends with its drop; the connections that it carries end by themselves.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Before these servers.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before(servers: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, servers.into()));
        Ok(Self { address, task })
    }

    /// The address, as `http://127.0.0.1:3000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, servers: Arc<[SocketAddr]>) {
    for first in 0.. {
        // One that is gone before it was accepted is nobody's loss.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(carry(client, servers.clone(), first));
    }
}

/// Carries one connection until one of its ends closes it.
async fn carry(mut client: TcpStream, servers: Arc<[SocketAddr]>, first: usize) -> io::Result<()> {
    let in_turn = servers.iter().cycle().skip(first % servers.len());
    for server in in_turn.take(servers.len()) {
        let Ok(mut server) = TcpStream::connect(server).await else {
            continue;
        };
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            sent = copy(&mut from_client, &mut to_server) => sent?,
            sent = copy(&mut from_server, &mut to_client) => sent?,
        };
        break;
    }
    Ok(())
}

//! A network that the test controls: forwards TCP connections, or delays, swallows and cuts them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time,
};

/// How much is forwarded at a time, in bytes.
const CHUNK: usize = 16 * 1024;

/// What the network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Everything arrives at once.
    Fair,
    /// Everything arrives so much later, in both directions.
    Delayed(Duration),
    /// Nothing arrives, and nobody is told; once that is over, everything does after all.
    BlackHole,
    /// Connections are refused.
    Refused,
}

/// One network path: whoever connects to its address reaches its target.
///
/// A connection whose one end is closed is closed at the other end, so that what a new connection
/// reaches is never taken for what the old one did.
#[derive(Debug)]
pub struct TcpRelay {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    target: SocketAddr,
    weather: Weather,
    /// Connections of another generation are cut.
    generation: u64,
}

impl TcpRelay {
    /// A path to a target, in fair weather.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn to(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State {
            target,
            weather: Weather::Fair,
            generation: 0,
        }));
        let task = tokio::spawn(accept(listener, state.clone()));
        Ok(Self {
            address,
            state,
            task,
        })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, for open connections as well.
    pub fn weather(&self, weather: Weather) {
        self.state.send_modify(|state| state.weather = weather);
    }

    /// Cuts all connections; new ones are made.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Leads to another target from now on, and cuts all connections.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.send_modify(|state| {
            state.target = target;
            state.generation += 1;
        });
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, state: Arc<watch::Sender<State>>) {
    loop {
        // One that is gone before it was accepted is nobody's loss.
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        let watch = state.subscribe();
        if watch.borrow().weather != Weather::Refused {
            tokio::spawn(carry(client, watch));
        }
    }
}

/// Carries one connection to its end.
async fn carry(client: TcpStream, mut watch: watch::Receiver<State>) {
    let generation = watch.borrow().generation;
    let mut cut = watch.clone();
    let carried = async {
        passable(&mut watch).await?;
        let target = watch.borrow().target;
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::select! {
            done = pump(from_client, to_server, watch.clone()) => done,
            done = pump(from_server, to_client, watch.clone()) => done,
        }
    };
    tokio::select! {
        _ = carried => {}
        _ = cut.wait_for(|state| state.generation != generation || state.weather == Weather::Refused) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut watch: watch::Receiver<State>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        let weather = watch.borrow().weather;
        match weather {
            Weather::Fair => {}
            Weather::Delayed(delay) => time::sleep(delay).await,
            Weather::BlackHole | Weather::Refused => passable(&mut watch).await?,
        }
        to.write_all(&chunk[..length]).await?;
    }
}

/// Waits until something arrives again.
async fn passable(watch: &mut watch::Receiver<State>) -> io::Result<()> {
    let passable = watch.wait_for(|state| state.weather != Weather::BlackHole);
    let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
    passable.await.map(|_| ()).map_err(gone)
}

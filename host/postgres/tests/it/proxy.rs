//! A connection that breaks in the middle, at a chosen word.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Hands everything on, and from some moment swallows what the client says from a word on.
pub(crate) struct Proxy {
    address: SocketAddr,
    swallows: Arc<AtomicBool>,
    swallowed: Arc<Notify>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn that_swallows(server: SocketAddr, word: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (swallows, swallowed) = (Arc::<AtomicBool>::default(), Arc::new(Notify::new()));
        let (watch, tell) = (Arc::clone(&swallows), Arc::clone(&swallowed));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server).await.unwrap();
                tokio::spawn(hand_on(client, server, word, Arc::clone(&watch), Arc::clone(&tell)));
            }
        });
        Self { address, swallows, swallowed }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn begin(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    pub(crate) fn end(&self) {
        self.swallows.store(false, Ordering::SeqCst);
    }

    pub(crate) async fn swallowed(&self) {
        self.swallowed.notified().await;
    }
}

async fn hand_on(
    client: TcpStream,
    server: TcpStream,
    word: &'static [u8],
    swallows: Arc<AtomicBool>,
    swallowed: Arc<Notify>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
    let (mut buffer, mut silent) = (vec![0; 64 * 1024], false);
    while let Ok(count) = from_client.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        let said = &buffer[..count];
        silent = swallows.load(Ordering::SeqCst) && (silent || said.windows(word.len()).any(|it| it == word));
        if silent {
            swallowed.notify_one();
        } else if to_server.write_all(said).await.is_err() {
            return;
        }
    }
}

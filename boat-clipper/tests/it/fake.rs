//! A query frontend that answers, and misbehaves, as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::http;

/// What the frontend does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Answers with this status and body.
    Answer(u16, Vec<u8>),
    /// Answers 200 with this body, and says that it closes.
    AnswerAndClose(Vec<u8>),
    /// The same, and accepts no connection any more.
    AnswerAndVanish(Vec<u8>),
    /// Announces more than it sends, and closes.
    BreakOff(Vec<u8>),
    /// Closes without a byte.
    Close,
    /// Never answers.
    Hang,
}

type Script = dyn FnMut(&str) -> Act + Send;

/// A frontend on a port of its own. Dropping it ends it.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    /// The bodies of all requests, as they come.
    pub(crate) requests: mpsc::UnboundedReceiver<String>,
    connections: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    script: Mutex<Box<Script>>,
    seen: mpsc::UnboundedSender<String>,
    vanish: mpsc::UnboundedSender<()>,
}

impl Fake {
    /// `script` is asked for each request, with its body.
    pub(crate) async fn start(script: impl FnMut(&str) -> Act + Send + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let (vanish, vanished) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { script: Mutex::new(Box::new(script)), seen, vanish });
        let connections = Arc::new(Mutex::new(0));
        let task = tokio::spawn(serve(listener, shared, vanished, Arc::clone(&connections)));
        Fake { address, requests, connections, task }
    }

    /// One that does the same with every request.
    pub(crate) async fn always(act: Act) -> Fake {
        Fake::start(move |_| act.clone()).await
    }

    /// All requests so far.
    pub(crate) fn seen(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    /// How many connections came so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut vanished: mpsc::UnboundedReceiver<()>,
    connections: Arc<Mutex<usize>>,
) {
    let mut served = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                *connections.lock().unwrap() += 1;
                served.spawn(connection(accepted.unwrap().0, Arc::clone(&shared)));
            }
            _ = vanished.recv() => break,
        }
    }
    drop(listener);
    while served.join_next().await.is_some() {}
}

async fn connection(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(request) = http::read(&mut stream).await {
        let act = (shared.script.lock().unwrap())(request.text());
        shared.seen.send(request.text().to_owned()).unwrap();
        let (status, body, length, header) = match act {
            Act::Answer(status, body) => (status, body.clone(), body.len(), ""),
            Act::AnswerAndClose(body) => (200, body.clone(), body.len(), "Connection: close\r\n"),
            Act::AnswerAndVanish(body) => {
                shared.vanish.send(()).unwrap();
                // Once the listener is gone this task goes on to answer.
                while TcpStream::connect(stream.local_addr().unwrap()).await.is_ok() {
                    tokio::task::yield_now().await;
                }
                (200, body.clone(), body.len(), "Connection: close\r\n")
            }
            Act::BreakOff(body) => (200, body.clone(), body.len() + 1, "Connection: close\r\n"),
            Act::Close => return,
            Act::Hang => std::future::pending().await,
        };
        let head = format!("HTTP/1.1 {status} -\r\n{header}Content-Length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        if !header.is_empty() {
            return;
        }
    }
}

//! A model that is not Rust but a service behind HTTP: implement `Predictor`, and say of each failure whether anything ran.
//! The service here counts the words it has seen, so it has state that only a replay can rebuild. It is restarted half-way,
//! and forgets everything; the predictor notices by the service's run, and Boat replays.
#![allow(clippy::print_stdout, clippy::indexing_slicing, reason = "a program that shows something")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use boat_core::transport::local::LocalNetwork;
use boat_core::{Call, CallOutcome, Node, Predictor, PredictorError, StateKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A service that counts words. Each start of it is a run with a number of its own.
async fn serve(listener: TcpListener, run: u64) -> std::io::Result<()> {
    static WORDS: AtomicU64 = AtomicU64::new(0);
    let reset = post(move || async move {
        WORDS.store(0, Ordering::SeqCst);
        json!({ "run": run }).to_string()
    });
    let count = post(move |text: String| async move {
        let words = text.split_whitespace().count() as u64;
        json!({ "run": run, "words": words + WORDS.fetch_add(words, Ordering::SeqCst) }).to_string()
    });
    WORDS.store(0, Ordering::SeqCst);
    axum::serve(listener, Router::new().route("/reset", reset).route("/count", count)).await
}

struct WordCounter {
    service: SocketAddr,
    run: Option<Value>,
}

impl WordCounter {
    /// Only a refused connection proves that nothing ran; after that nobody knows.
    async fn call(&self, path: &str, body: &[u8]) -> Result<Value, PredictorError> {
        let unavailable = |error: std::io::Error| PredictorError::Unavailable(error.to_string());
        let lost = PredictorError::StateLost;
        let mut service = TcpStream::connect(self.service).await.map_err(unavailable)?;
        let head = format!("POST {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut reply = String::new();
        let exchange = async {
            service.write_all(&[head.as_bytes(), body].concat()).await?;
            service.read_to_string(&mut reply).await
        };
        let exchanged = tokio::time::timeout(CALL_TIMEOUT, exchange).await;
        exchanged.map_err(|late| lost(late.to_string()))?.map_err(|error| lost(error.to_string()))?;
        let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|error| lost(error.to_string()))
    }
}

impl Predictor for WordCounter {
    fn state_kind(&self) -> StateKind {
        StateKind::Replay
    }

    async fn reset(&mut self) -> Result<(), PredictorError> {
        self.run = self.call("/reset", b"").await?.get("run").cloned();
        Ok(())
    }

    async fn predict(&mut self, calls: &[Call], out: &mut Vec<CallOutcome>) -> Result<(), PredictorError> {
        for call in calls {
            let said = self.call("/count", &call.body).await?;
            if said.get("run") != self.run.as_ref() {
                return Err(PredictorError::StateLost("the service was started again".to_owned()));
            }
            out.push(CallOutcome::Output(said["words"].to_string().into()));
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let service = listener.local_addr()?;
    let first_run = tokio::spawn(serve(listener, 1));
    let directory = tempfile::tempdir()?;
    let node = Node::builder(0).data_dir(directory.path()).members("0=local:0".parse()?);
    let node = node.transport(LocalNetwork::new().transport());
    let node = node.start_predictor(WordCounter { service, run: None }).await?;
    node.ready().await?;
    println!("words so far: {:?}", node.predict("to be or not".into()).await?.output);
    first_run.abort();
    let _aborted = first_run.await;
    tokio::spawn(serve(TcpListener::bind(service).await?, 2));
    let answer = node.predict("to be".into()).await?;
    println!("after the service lost everything: {:?}", answer.output);
    assert_eq!(answer.output.as_ref(), b"6");
    Ok(node.shutdown().await?)
}

//! Requests that went wrong on their way, in ways that nobody thought of.

use std::sync::atomic::{AtomicUsize, Ordering};

use boat_core::http::HttpOptions;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::Frontend;
use crate::client::{BOUND, bare, post, predict};

const REQUESTS: usize = 1_000;
const CHANGES_MAX: usize = 8;

/// Flips, drops, repeats and inserts a few bytes.
fn mutate(bytes: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.gen_range(0..CHANGES_MAX) {
        let at = random.gen_range(0..bytes.len());
        match random.gen_range(0..5) {
            0 => bytes[at] = random.r#gen(),
            1 => bytes[at] ^= 1 << random.gen_range(0..8),
            2 => bytes.insert(at, b"\r\n\0\"{: ;=,*"[random.gen_range(0..11)]),
            3 => {
                let end = (at + random.gen_range(1..40)).min(bytes.len());
                let repeated = bytes[at..end].to_vec();
                bytes.splice(at..at, repeated);
            }
            _ if bytes.len() > 20 => bytes.truncate(at.max(1)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn no_bytes_make_the_frontend_panic_or_hang() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    let frontend = Frontend::start(HttpOptions { allow_control: true, ..HttpOptions::default() }).await;
    let headers = "Idempotency-Key: \"k\"\r\nPrefer: wait=5, x\r\nAuthorization: Bearer t\r\n";
    let chunked =
        "POST /predict HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: y\r\n\r\n";
    let whole = [
        predict("{\"input\":[1,2.5e3,\"\\u00e9\"]}"),
        post("/predict", headers, "{\"input\":1}"),
        chunked.to_owned(),
        post("/query", "Boat-Read: local\r\nBoat-At-Least: 0\r\n", "{\"input\":1}"),
        post("/sessions", "", "{}"),
        post(
            "/feedback",
            "Boat-Session: 9-ab\r\nBoat-Sequence: 3\r\nBoat-Lowest-Unanswered: 2\r\n",
            "{\"input\":1}",
        ),
        post("/predict", "Prefer: respond-async, wait=1\r\n", "1"),
        bare("GET", "/outcomes/a%2Fb"),
        post("/control", "", "{\"cmd\":\"stop\"}"),
        bare("GET", "/status?x=%20"),
        bare("HEAD", "/metrics") + &predict("1"),
    ];
    let mut random = StdRng::seed_from_u64(1);
    for number in 0..REQUESTS {
        let mut bytes = whole[number % whole.len()].clone().into_bytes();
        mutate(&mut bytes, &mut random);
        let mut client = frontend.client().await;
        // The server may have answered and closed before everything was sent.
        let _ = timeout(BOUND, client.stream.write_all(&bytes)).await.unwrap();
        let _ = client.stream.shutdown().await;
        client.until_closed().await;
    }
    frontend.still_serves().await;
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    assert!(frontend.double.applied().len() > REQUESTS / 20, "hardly a request got through");
}

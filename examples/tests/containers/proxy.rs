//! A socket before the engine's own, on which the engine can be gone, or refuse.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The engine's own.
const ENGINE: &str = "/var/run/docker.sock";

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What the proxy does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// As if no engine ran: whatever connects is cut off.
    Cut,
    /// Requests whose first line contains this get status 500 with that message.
    Refuse(&'static str, &'static str),
}

#[derive(Debug)]
struct State {
    mode: Mode,
    open: Vec<UnixStream>,
}

/// The proxy. Its thread ends with the process.
#[derive(Debug)]
pub(crate) struct Proxy {
    state: Arc<Mutex<State>>,
    directory: tempfile::TempDir,
}

impl Proxy {
    pub(crate) fn start() -> Proxy {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(Mutex::new(State { mode: Mode::Pass, open: Vec::new() }));
        let listener = UnixListener::bind(socket(directory.path())).unwrap();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        Proxy { state, directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// Changes what is done; what is open is closed where that is what it says.
    pub(crate) fn set(&self, mode: Mode) {
        let mut state = self.state.lock().unwrap();
        if mode == Mode::Cut {
            for stream in state.open.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        state.mode = mode;
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("docker.sock")
}

/// Serves one connection; errors end it.
fn serve(mut client: UnixStream, state: &Mutex<State>) -> Option<()> {
    let head = read_head(&mut client)?;
    let mut engine = {
        let mut state = state.lock().unwrap();
        match state.mode {
            Mode::Cut => return None,
            Mode::Refuse(wanted, message) if head.lines().next()?.contains(wanted) => {
                let body = format!("{{\"message\":\"{message}\"}}");
                let length = body.len();
                let head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close";
                let answer = format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}");
                return client.write_all(answer.as_bytes()).ok();
            }
            _ => {}
        }
        let engine = UnixStream::connect(ENGINE).ok()?;
        state.open.extend([client.try_clone().ok()?, engine.try_clone().ok()?]);
        engine
    };
    engine.write_all(head.as_bytes()).ok()?;
    let (mut from, mut to) = (client.try_clone().ok()?, engine.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut engine, &mut client);
    client.shutdown(Shutdown::Both).ok()
}

/// The head of the first request, with what of the body came along.
fn read_head(client: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = client.read(&mut piece).ok().filter(|count| *count > 0)?;
        head.extend_from_slice(&piece[..count]);
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    String::from_utf8(head).ok()
}

//! As much of curl as the documents use, so that the test needs no curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// A curl command, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Curl {
    include_head: bool,
    json: Option<String>,
    fields: Vec<String>,
    pub(crate) port: u16,
    path: String,
}

impl Curl {
    /// Reads a command line; panics on what the documents do not use.
    pub(crate) fn parse(command: &str) -> Self {
        let mut curl =
            Curl { include_head: false, json: None, fields: Vec::new(), port: 0, path: String::new() };
        let mut words = words(command).into_iter().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "-i" => curl.include_head = true,
                "--json" => curl.json = words.next(),
                "-H" => curl.fields.extend(words.next()),
                address => {
                    let rest = address.strip_prefix("127.0.0.1:").expect("an address of this machine");
                    let (port, path) = rest.split_once('/').expect("a path");
                    curl.port = port.parse().expect("a port");
                    curl.path = format!("/{path}");
                }
            }
        }
        curl
    }

    /// Does it, and gives what curl would print.
    pub(crate) fn run(&self, address: SocketAddr) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(EXCHANGE_TIMEOUT))?;
        stream.write_all(self.request().as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let answer = answer.replace("\r\n", "\n");
        let (_, body) = answer.split_once("\n\n").unwrap_or_default();
        Ok(if self.include_head { answer } else { body.to_owned() })
    }

    fn request(&self) -> String {
        let method = if self.json.is_some() { "POST" } else { "GET" };
        let mut request = format!("{method} {} HTTP/1.1\r\nHost: boat\r\nConnection: close\r\n", self.path);
        self.fields.iter().for_each(|field| request.push_str(&format!("{field}\r\n")));
        let body = self.json.as_deref().unwrap_or_default();
        if self.json.is_some() {
            let bytes = body.len();
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {bytes}\r\n"));
        }
        request + "\r\n" + body
    }
}

/// The words of a command line, single quotes taken off.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn a_command_is_taken_apart() {
    let curl = Curl::parse("curl -i --json '{\"a\": 1}' -H 'K: a b' 127.0.0.1:8081/predict");
    let expected = Curl {
        include_head: true,
        json: Some("{\"a\": 1}".to_owned()),
        fields: vec!["K: a b".to_owned()],
        port: 8081,
        path: "/predict".to_owned(),
    };
    assert_eq!(curl, expected);
    let request = curl.request();
    assert!(request.starts_with("POST /predict HTTP/1.1\r\n") && request.ends_with("\r\n\r\n{\"a\": 1}"));
}

//! The frontend over real sockets, byte by byte, in front of a node's double.
#![cfg(feature = "http")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed, and its helpers with it"
)]

mod admin;
mod client;
mod connections;
mod double;
mod limits;
mod mutations;
mod outcomes;
mod predictions;
mod quarantine;
mod queries;
mod routes;
mod sessions;

use axum::Router;
use boat_core::http::{HttpOptions, HttpServer, serve};
use tokio::net::TcpListener;

use client::{Client, predict};
use double::Double;

/// A running frontend and its double.
struct Frontend {
    server: HttpServer,
    double: Double,
}

impl Frontend {
    async fn start(options: HttpOptions) -> Self {
        Self::with_routes(options, Router::new()).await
    }

    async fn with_routes(options: HttpOptions, routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let double = Double::new();
        let server = serve(listener, double.clone(), options.check().unwrap(), routes).unwrap();
        Frontend { server, double }
    }

    async fn client(&self) -> Client {
        Client::connect(self.server.local_address()).await
    }

    /// Checks that the frontend still answers.
    async fn still_serves(&self) {
        let reply = self.client().await.ask(predict("{\"input\":\"still there?\"}")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

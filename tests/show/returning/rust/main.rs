//! The stock Rust client: URL TRANSPORTS TOKEN…; prints "ready" whenever it is (again).
use futures_util::FutureExt;
use rust_socketio::asynchronous::{ClientBuilder, ReconnectSettings};
use rust_socketio::TransportType;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (url, tokens) = (args[0].clone(), args[2..].to_vec());
    let transport = match args[1].as_str() {
        "websocket" => TransportType::Websocket,
        "polling" => TransportType::Polling,
        _ => TransportType::Any,
    };
    let readies = Arc::new(AtomicUsize::new(0));
    let seen = readies.clone();
    let _client = ClientBuilder::new(url)
        .transport_type(transport)
        .auth(json!({ "token": tokens[0] }))
        .on("ready", move |_, _| {
            seen.fetch_add(1, Ordering::SeqCst);
            println!("ready");
            async {}.boxed()
        })
        .on("server:shutdown", |_, _| {
            println!("told");
            async {}.boxed()
        })
        .on("error", |error, _| {
            eprintln!("error {error:?}");
            async {}.boxed()
        })
        .on_reconnect(move || {
            let next = readies.load(Ordering::SeqCst).min(tokens.len() - 1);
            let mut settings = ReconnectSettings::new();
            settings.auth(json!({ "token": tokens[next] }));
            async move { settings }.boxed()
        })
        .connect()
        .await
        .expect("the first connect");
    std::future::pending::<()>().await
}

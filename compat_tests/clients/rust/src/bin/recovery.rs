//! An application that says what it is sent while its connection is cut, and connects again as its users have to.
//! compat_tests/js/recovery starts it; traveller.mjs reads the lines.

use std::env;
use std::error::Error;
use std::time::Duration;

use phoenix_channels_client::{Client, Config};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    loop {
        let _ = visit().await; // a lost connection is what this is about
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Connects, joins, and stays until the connection is lost.
async fn visit() -> Result<(), Box<dyn Error>> {
    let mut config = Config::new(format!("{}/socket/websocket", var("RECOVERY_URL")).as_str())?;
    if var("RECOVERY_WAY") == "session" {
        config.set("session", var("RECOVERY_SESSION"));
    }
    let mut client = Client::new(config)?;
    client.connect().await?;
    let channel = client.join(&var("RECOVERY_TOPIC"), Some(Duration::from_secs(3))).await?;
    channel
        .on("n", |_, payload| {
            if let Some(value) = payload.clone().into_value() {
                println!("n {}", value["n"]);
            }
        })
        .await?;
    while !channel.is_closing() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

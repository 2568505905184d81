//! What a client does when something ends.

use phoenix_channels_client::{Channel, PhoenixEvent, SendError};
use serde_json::json;

use crate::lab::*;

const JOINS_NOT_BY_ITSELF: &str = "the client tells the application, which joins or connects again: it does not by itself";

pub async fn crash() -> Outcome {
    let user = connect(&[]).await?;
    let channel = join(&user, "echo:rust-crash").await?;
    let errors = collect(&channel, PhoenixEvent::Error).await?;
    channel.send_noreply("crash", json!({})).await?;
    until_count("the channel is told", &errors, 1).await?;
    check(&*join(&user, "echo:rust-crash").await?).await?;
    ok_but(JOINS_NOT_BY_ITSELF)
}

/// The server ends the first channel: this client lets it.
pub async fn duplicate_join() -> Outcome {
    let user = connect(&[]).await?;
    let first = join(&user, "echo:rust-twice").await?;
    let closes = collect(&first, PhoenixEvent::Close).await?;
    let second = join(&user, "echo:rust-twice").await?;
    let own_closes = collect(&second, PhoenixEvent::Close).await?;
    let shouts = collect(&second, "shout").await?;
    until_count("the first is closed", &closes, 1).await?;
    second.send_noreply("shout", json!({})).await?;
    until_events("the broadcast", &shouts, &[json!({}).into()]).await?;
    check(&second).await?;
    until_count("one broadcast", &shouts, 1).await?;
    until_count("the second is open", &own_closes, 0).await?;
    ok()
}

pub async fn forced_disconnect() -> Outcome {
    let user = connect(&[("user_id", "rust-forced")]).await?;
    let channel = join(&user, "echo:rust-forced").await?;
    let operator = connect(&[]).await?;
    let from = join(&operator, "echo:rust-operator").await?;
    push(&from, "disconnect_user", json!({"id": "rust-forced"})).await?;
    until_closed(&channel).await?;
    check(&from).await?;
    check(&*join(&connect(&[("user_id", "rust-forced")]).await?, "echo:rust-forced").await?).await?;
    ok_but(JOINS_NOT_BY_ITSELF)
}

pub async fn dropped_tcp() -> Outcome {
    let mut user = client(&proxy(), "/socket", &[])?;
    user.connect().await?;
    let channel = join(&user, "echo:rust-dropped").await?;
    cut_proxy();
    until_closed(&channel).await?;
    let mut again = client(&proxy(), "/socket", &[])?;
    again.connect().await?;
    check(&*join(&again, "echo:rust-dropped").await?).await?;
    ok_but(JOINS_NOT_BY_ITSELF)
}

/// Waits for the client to see that its connection has ended.
async fn until_closed(channel: &Channel) -> Done {
    until("the channel is closing", || channel.is_closing()).await?;
    match channel.send_with_timeout("echo", json!({}), ANSWER).await {
        Err(SendError::Closed) => Ok(()),
        other => Err(format!("the channel is not closed: {other:?}").into()),
    }
}

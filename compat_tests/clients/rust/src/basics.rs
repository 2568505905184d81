//! What a client does while nothing fails.

use std::time::Duration;

use phoenix_channels_client::{ChannelError, ClientError, Payload, PhoenixEvent, SendError};
use serde_json::json;

use crate::lab::{self, *};
use crate::presences;

pub async fn connect() -> Outcome {
    let user = lab::connect(&[("user_id", "rust connects & more")]).await?;
    let info = lab::push(&*lab::join(&user, "echo:rust").await?, "connect_info", json!({})).await?;
    equal("socket id", &json!("users_socket:rust connects & more"), &info["id"])?;
    ok()
}

pub async fn connect_refused() -> Outcome {
    match client(&server(), "/socket", &[("token", "bad")])?.connect().await {
        Err(ClientError::ConnectionError(error)) => {
            equal("tells the status", true, error.to_string().contains("403"))?;
            ok()
        }
        other => Err(format!("the connection was not refused: {other:?}").into()),
    }
}

pub async fn join() -> Outcome {
    let user = lab::connect(&[]).await?;
    let channel = lab::join(&user, "echo:rust").await?;
    until("is joined", || channel.is_joined()).await?;
    check(&channel).await?;
    ok()
}

pub async fn join_refused() -> Outcome {
    let user = lab::connect(&[]).await?;
    match user.join("deny:any", ANSWER).await {
        Err(ChannelError::JoinFailed(payload)) => {
            equal("response", Payload::Value(json!({"reason": "unauthorized"})), *payload)?;
            ok()
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err("the join was accepted".into()),
    }
}

pub async fn push() -> Outcome {
    let user = lab::connect(&[]).await?;
    let channel = lab::join(&user, "echo:rust").await?;
    let payload = json!({"list": [1, 2.5, null, "a,b"], "text": "äöü <&>"});
    equal("ok", payload.clone(), lab::push(&channel, "echo", payload.clone()).await?)?;
    match channel.send_with_timeout("echo_error", payload.clone(), ANSWER).await {
        Err(SendError::Reply(answer)) => equal("error", Payload::Value(payload), *answer)?,
        other => return Err(format!("the answer is no error: {other:?}").into()),
    }
    match channel.send_with_timeout("noreply", json!({}), Some(Duration::from_millis(300))).await {
        Err(SendError::Timeout) => check(&channel).await?,
        other => return Err(format!("no timeout: {other:?}").into()),
    }
    ok()
}

pub async fn push_from_server() -> Outcome {
    let user = lab::connect(&[]).await?;
    let channel = lab::join(&user, "echo:rust").await?;
    let pushed = collect(&channel, "pushed").await?;
    channel.send_noreply("push_me", json!({"n": 1})).await?;
    until_events("the push", &pushed, &[json!({"n": 1}).into()]).await?;
    ok()
}

pub async fn broadcast() -> Outcome {
    let (first, second) = (lab::connect(&[]).await?, lab::connect(&[]).await?);
    let sender = lab::join(&first, "echo:rust-broadcast").await?;
    let other = lab::join(&second, "echo:rust-broadcast").await?;
    let seen = [collect(&sender, "shout").await?, collect(&other, "shout").await?];
    sender.send_noreply("shout", json!({"text": "to all"})).await?;
    for events in &seen {
        until_events("the broadcast", events, &[json!({"text": "to all"}).into()]).await?;
    }
    ok()
}

pub async fn broadcast_from() -> Outcome {
    let (first, second) = (lab::connect(&[]).await?, lab::connect(&[]).await?);
    let sender = lab::join(&first, "echo:rust-from").await?;
    let other = lab::join(&second, "echo:rust-from").await?;
    let (own, seen) = (collect(&sender, "shout").await?, collect(&other, "shout").await?);
    sender.send_noreply("shout_from", json!({"text": "to the others"})).await?;
    until_events("the broadcast", &seen, &[json!({"text": "to the others"}).into()]).await?;
    check(&sender).await?; // nothing may come before this answer
    until_count("no broadcast to the sender", &own, 0).await?;
    ok()
}

/// Bytes from the server in all three kinds of frames.
pub async fn binary() -> Outcome {
    let user = lab::connect(&[]).await?;
    let channel = lab::join(&user, "echo:rust-binary").await?;
    let (pushed, shout) = (collect(&channel, "bin_pushed").await?, collect(&channel, "bin_shout").await?);
    let bytes = vec![0, 1, 2, 0xff];
    let asked = json!({"hex": "000102ff"});
    equal("reply", Payload::Binary(bytes.clone()), channel.send_with_timeout("bin_reply", asked.clone(), ANSWER).await?)?;
    channel.send_noreply("bin_push", asked.clone()).await?;
    channel.send_noreply("bin_broadcast", asked).await?;
    until_events("the push", &pushed, &[bytes.clone().into()]).await?;
    until_events("the broadcast", &shout, &[bytes.into()]).await?;
    ok_but("replies, pushes and broadcasts of bytes arrive; this client does not send bytes")
}

pub async fn leave() -> Outcome {
    let (first, second) = (lab::connect(&[("user", "alice")]).await?, lab::connect(&[("user", "bob")]).await?);
    let alice = lab::join(&first, "room:rust-leave").await?;
    let bob = lab::join(&second, "room:rust-leave").await?;
    let diffs = collect(&bob, "presence_diff").await?;
    presences::until_tabs(&bob, &[("alice", 1), ("bob", 1)]).await?;
    alice.leave().await;
    until("the channel is closing", || alice.is_closing()).await?;
    presences::until_tabs(&bob, &[("bob", 1)]).await?;
    until("others are told", || !diffs.lock().unwrap().is_empty()).await?;
    check(&*lab::join(&first, "room:rust-leave").await?).await?;
    ok()
}

pub async fn stopped() -> Outcome {
    let user = lab::connect(&[]).await?;
    let channel = lab::join(&user, "echo:rust-stop").await?;
    let closes = collect(&channel, PhoenixEvent::Close).await?;
    let errors = collect(&channel, PhoenixEvent::Error).await?;
    lab::push(&channel, "stop_reply", json!({})).await?;
    until_count("the channel is told", &closes, 1).await?;
    until_count("no error", &errors, 0).await?;
    check(&*lab::join(&user, "echo:rust-stop").await?).await?;
    ok()
}

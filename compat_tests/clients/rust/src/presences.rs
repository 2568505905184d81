//! Who is in a room. The client keeps no presences: it hands on the events.

use std::collections::{BTreeMap, BTreeSet};

use phoenix_channels_client::{Channel, Payload, Value};
use serde_json::json;

use crate::lab::*;

pub async fn two_users_two_tabs() -> Outcome {
    let (first, second, third) =
        (connect(&[("user", "bob")]).await?, connect(&[("user", "alice")]).await?, connect(&[("user", "alice")]).await?);
    let bob = join(&first, "room:rust").await?;
    until_tabs(&bob, &[("bob", 1)]).await?; // presence_state came before anyone could listen
    let diffs = collect(&bob, "presence_diff").await?;
    let one = join(&second, "room:rust").await?;
    let two = join(&third, "room:rust").await?;
    until_seen(&diffs, &[("alice", 2)]).await?;
    push(&one, "update", json!({"tab": "changed"})).await?;
    until_changed(&diffs).await?;
    until_tabs(&bob, &[("alice", 2), ("bob", 1)]).await?;
    two.leave().await;
    until_seen(&diffs, &[("alice", 1)]).await?;
    drop((one, second)); // the socket ends with its client
    until_seen(&diffs, &[]).await?;
    until_tabs(&bob, &[("bob", 1)]).await?;
    ok_but("as events: the client keeps no presences")
}

/// Waits for the server's list to have so many presences of each user.
pub async fn until_tabs(channel: &Channel, want: &[(&str, usize)]) -> Done {
    let mut listed = Value::Null;
    for _ in 0..900 {
        listed = push(channel, "list", json!({})).await?;
        if counts(&refs(&listed)) == want {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Err(format!("the list is not {want:?}: {listed}").into())
}

/// Waits for what the diffs alone tell.
async fn until_seen(diffs: &Events, want: &[(&str, usize)]) -> Done {
    until(&format!("the diffs tell of {want:?}"), || counts(&present(diffs)) == want).await
}

/// Waits for an update: one diff with the new meta, which names the old, and the old one.
async fn until_changed(diffs: &Events) -> Done {
    let is_update = |payload: &Payload| match payload {
        Payload::Value(diff) => {
            let joined = &diff["joins"]["alice"]["metas"][0];
            joined["tab"] == "changed" && joined["phx_ref_prev"] == diff["leaves"]["alice"]["metas"][0]["phx_ref"]
        }
        Payload::Binary(_) => false,
    };
    until("the update", || diffs.lock().unwrap().iter().any(is_update)).await
}

type Present = BTreeMap<String, BTreeSet<String>>;

fn present(diffs: &Events) -> Present {
    let mut present = Present::new();
    for payload in diffs.lock().unwrap().iter() {
        let Payload::Value(diff) = payload else { continue };
        for (user, joined) in refs(&diff["joins"]) {
            present.entry(user).or_default().extend(joined);
        }
        for (user, left) in refs(&diff["leaves"]) {
            present.entry(user).or_default().retain(|meta| !left.contains(meta));
        }
    }
    present
}

/// The refs of each user's metas.
fn refs(state: &Value) -> Present {
    let of = |entry: &Value| {
        let metas = entry["metas"].as_array().map(Vec::as_slice).unwrap_or_default();
        metas.iter().map(|meta| meta["phx_ref"].as_str().unwrap_or_default().to_string()).collect()
    };
    state.as_object().into_iter().flatten().map(|(user, entry)| (user.clone(), of(entry))).collect()
}

fn counts(present: &Present) -> Vec<(&str, usize)> {
    present.iter().filter(|(_, metas)| !metas.is_empty()).map(|(user, metas)| (user.as_str(), metas.len())).collect()
}

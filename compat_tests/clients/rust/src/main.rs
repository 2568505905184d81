//! phoenix_channels_client through the behaviours: says in one line how each went.

mod basics;
mod failures;
mod heartbeats;
mod lab;
mod presences;

use lab::{not_offered, Outcome};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    report("connect", basics::connect().await);
    report("connect refused", basics::connect_refused().await);
    report("join", basics::join().await);
    report("join refused", basics::join_refused().await);
    report("push: ok, error, timeout", basics::push().await);
    report("push from the server", basics::push_from_server().await);
    report("broadcast", basics::broadcast().await);
    report("broadcast_from", basics::broadcast_from().await);
    report("binary", basics::binary().await);
    report("leave", basics::leave().await);
    report("channel stopped by the server", basics::stopped().await);
    report("crash and rejoin", failures::crash().await);
    report("duplicate join", failures::duplicate_join().await);
    report("forced disconnect", failures::forced_disconnect().await);
    report("dropped TCP", failures::dropped_tcp().await);
    report("heartbeat", heartbeats::in_time_of_its_own().await);
    report("presence: two users, two tabs", presences::two_users_two_tabs().await);
    report("long polling", not_offered("a WebSocket is its only transport"));
}

fn report(behaviour: &str, outcome: Outcome) {
    match outcome {
        Ok(said) => println!("{behaviour}: {said}"),
        Err(reason) => println!("{behaviour}: FAIL {}", reason.to_string().replace('\n', " ")),
    }
}

//! The server, and what all behaviours do with it.

use std::env;
use std::error::Error;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use phoenix_channels_client::{Channel, Client, Config, Event, Payload, Value};
use serde_json::json;

/// How a behaviour went: what is said of it, or how it failed.
pub type Outcome = Result<String, Box<dyn Error>>;
pub type Done = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(45);
pub const ANSWER: Option<Duration> = Some(PATIENCE);

pub fn ok() -> Outcome {
    Ok("ok".into())
}

/// Ok, with what the table's reader has to know.
pub fn ok_but(note: &str) -> Outcome {
    Ok(format!("ok ({note})"))
}

/// The client has no means for it.
pub fn not_offered(why: &str) -> Outcome {
    Ok(format!("not offered ({why})"))
}

pub fn server() -> String {
    env::var("LABAPP_ADDR").expect("LABAPP_ADDR is set")
}

pub fn proxy() -> String {
    env::var("LABAPP_PROXY").expect("LABAPP_PROXY is set")
}

/// Has the proxy reset its connections.
pub fn cut_proxy() {
    println!("proxy: cut");
}

/// A client of the socket at a path, that is not connected yet.
pub fn client(addr: &str, path: &str, params: &[(&str, &str)]) -> Result<Client, Box<dyn Error>> {
    let mut config = Config::new(format!("ws://{addr}{path}/websocket").as_str())?;
    for (name, value) in params {
        config.set(*name, *value);
    }
    Ok(Client::new(config)?)
}

pub async fn connect(params: &[(&str, &str)]) -> Result<Client, Box<dyn Error>> {
    let mut connected = client(&server(), "/socket", params)?;
    connected.connect().await?;
    Ok(connected)
}

pub async fn join(client: &Client, topic: &str) -> Result<Arc<Channel>, Box<dyn Error>> {
    Ok(client.join(topic, ANSWER).await?)
}

/// Shows that the channel works: an echo comes back.
pub async fn check(channel: &Channel) -> Done {
    let text = json!({"text": "still here"});
    equal("echo", Payload::Value(text.clone()), channel.send_with_timeout("echo", text, ANSWER).await?)
}

/// Pushes where an answer ok is expected, and returns its response.
pub async fn push(channel: &Channel, event: &str, payload: Value) -> Result<Value, Box<dyn Error>> {
    let answer = channel.send_with_timeout(event, payload, ANSWER).await?;
    answer.into_value().ok_or_else(|| "the response is bytes".into())
}

/// The payloads of an event, as they come.
pub type Events = Arc<Mutex<Vec<Payload>>>;

pub async fn collect(channel: &Channel, event: impl Into<Event>) -> Result<Events, Box<dyn Error>> {
    let events = Events::default();
    let noted = events.clone();
    channel.on(event, move |_, payload| noted.lock().unwrap().push(payload.clone())).await?;
    Ok(events)
}

pub async fn until_events(what: &str, events: &Events, want: &[Payload]) -> Done {
    until(what, || *events.lock().unwrap() == want).await
}

pub async fn until_count(what: &str, events: &Events, want: usize) -> Done {
    until(what, || events.lock().unwrap().len() == want).await
}

pub async fn until(what: &str, condition: impl Fn() -> bool) -> Done {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            return Err(format!("waited in vain: {what}").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

pub fn equal<T: PartialEq + Debug>(what: &str, want: T, got: T) -> Done {
    match want == got {
        true => Ok(()),
        false => Err(format!("{what}: want {want:?}, got {got:?}").into()),
    }
}

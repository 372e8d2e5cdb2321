//! A worker that does what it is told: `lane run LANE --channel jsonl --start-message '{"mission": "…"}' -- worker`.

use laneway_client::{Channel, ChannelError, Message};
use serde_json::{Value, json};

fn main() -> Result<(), ChannelError> {
    let Some(mut channel) = Channel::from_env()? else {
        return Ok(()); // Started without a channel: there is nobody to work for.
    };
    channel.ready()?;
    while let Some(message) = channel.next_message()? {
        match message {
            Message::Init(init) => channel.speaker().status(&json!({ "worker": init.worker_id }))?,
            Message::Start(start) => channel.event("round:start", &Value::Object(start))?,
            Message::Other(said) => channel.event("heard", &Value::Object(said))?,
            Message::Config(_) => {}
            Message::Stop | Message::Shutdown => break,
        }
    }
    Ok(())
}

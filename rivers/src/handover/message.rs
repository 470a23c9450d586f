//! The messages of a hand-over. Their text is JSON, so that a process can refuse one that speaks another
//! protocol in words; bytes of connections follow it as they are, and descriptors come beside it.

use std::{collections::VecDeque, net::SocketAddr, os::fd::OwnedFd, time::Duration};

use serde::{Deserialize, Serialize};

use super::record::{Direction, Handed, HandedListener, Relaying, Stage};

/// One message. [`Hello`](Self::Hello) and [`Refused`](Self::Refused) stay as they are in every protocol
/// to come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub(super) enum Message {
    /// The new process asks.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u32,
        /// For people: the version of the program.
        version: String,
        generation: u64,
    },
    /// The old process goes on serving.
    Refused {
        /// A sentence for people.
        reason: String,
        /// Whether the reason is that the new process is of an older generation.
        older: bool,
    },
    /// One descriptor each.
    Listeners { addresses: Vec<String> },
    /// One or two descriptors each: the client's, then the upstream's if there is one.
    Connections { connections: Vec<Connection> },
    /// That was all: so many connections.
    Complete { connections: usize },
    /// The new process has everything and wants to serve.
    Commit,
    /// The old process has let go.
    Done,
}

/// A [`Handed`] without its descriptors and bytes; of these it has the number.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Connection {
    listener: String,
    client: SocketAddr,
    age_ms: u64,
    #[serde(flatten)]
    stage: StageText,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
enum StageText {
    Dialling {
        kept: usize,
    },
    Relaying {
        upstream: String,
        replay: Option<usize>,
        to_upstream: DirectionText,
        to_client: DirectionText,
    },
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DirectionText {
    bytes: u64,
    unsent: usize,
    is_over: bool,
}

/// A message as it travels.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) message: Message,
    pub(super) payload: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl From<Message> for Parcel {
    fn from(message: Message) -> Self {
        Self {
            message,
            payload: Vec::new(),
            descriptors: Vec::new(),
        }
    }
}

/// What the other side sent makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Nonsense {
    #[error("there are fewer or more descriptors than the message speaks of")]
    Descriptors,
    #[error("there are fewer or more bytes than the message speaks of")]
    Bytes,
    #[error("`{0}` is no address")]
    Address(String),
}

/// The listeners as one message.
pub(super) fn listeners(listeners: Vec<HandedListener>) -> Parcel {
    let (addresses, descriptors) = listeners
        .into_iter()
        .map(|listener| (listener.address.to_string(), OwnedFd::from(listener.socket)))
        .unzip();
    Parcel {
        message: Message::Listeners { addresses },
        payload: Vec::new(),
        descriptors,
    }
}

/// The listeners out of a message's addresses and descriptors.
///
/// # Errors
/// Their numbers differ, or one is no address.
pub(super) fn unpack_listeners(
    addresses: Vec<String>,
    descriptors: Vec<OwnedFd>,
) -> Result<Vec<HandedListener>, Nonsense> {
    if addresses.len() != descriptors.len() {
        return Err(Nonsense::Descriptors);
    }
    let listeners = addresses.into_iter().zip(descriptors);
    listeners
        .map(|(address, socket)| {
            Ok(HandedListener {
                address: address.parse().map_err(|_| Nonsense::Address(address))?,
                socket: socket.into(),
            })
        })
        .collect()
}

/// The first of these connections as one message, as many as fit.
pub(super) fn pack(waiting: &mut VecDeque<Handed>) -> Parcel {
    let mut connections = Vec::new();
    let (mut payload, mut descriptors) = (Vec::new(), Vec::new());
    while connections.len() < CONNECTIONS_A_MESSAGE && payload.len() < PAYLOAD_A_MESSAGE {
        let Some(handed) = waiting.pop_front() else {
            break;
        };
        descriptors.push(handed.client);
        let stage = match handed.stage {
            Stage::Dialling(kept) => StageText::Dialling {
                kept: pack_bytes(&kept, &mut payload),
            },
            Stage::Relaying(relaying) => {
                descriptors.push(relaying.upstream);
                StageText::Relaying {
                    upstream: relaying.address.to_string(),
                    replay: relaying.replay.map(|kept| pack_bytes(&kept, &mut payload)),
                    to_upstream: pack_direction(relaying.to_upstream, &mut payload),
                    to_client: pack_direction(relaying.to_client, &mut payload),
                }
            }
        };
        connections.push(Connection {
            listener: handed.listener,
            client: handed.address,
            age_ms: u64::try_from(handed.age.as_millis()).unwrap_or(u64::MAX),
            stage,
        });
    }
    Parcel {
        message: Message::Connections { connections },
        payload,
        descriptors,
    }
}

fn pack_bytes(bytes: &[u8], payload: &mut Vec<u8>) -> usize {
    payload.extend_from_slice(bytes);
    bytes.len()
}

fn pack_direction(direction: Direction, payload: &mut Vec<u8>) -> DirectionText {
    DirectionText {
        bytes: direction.bytes,
        unsent: pack_bytes(&direction.unsent, payload),
        is_over: direction.is_over,
    }
}

/// The connections out of a message.
///
/// # Errors
/// The numbers in the message do not agree with what came with it.
pub(super) fn unpack(
    connections: Vec<Connection>,
    payload: &[u8],
    descriptors: Vec<OwnedFd>,
) -> Result<Vec<Handed>, Nonsense> {
    let mut bytes = Bytes(payload);
    let mut descriptors = descriptors.into_iter();
    let mut descriptor = || descriptors.next().ok_or(Nonsense::Descriptors);
    let handed = connections
        .into_iter()
        .map(|connection| {
            let client = descriptor()?;
            let stage = match connection.stage {
                StageText::Dialling { kept } => Stage::Dialling(bytes.take(kept)?),
                StageText::Relaying {
                    upstream,
                    replay,
                    to_upstream,
                    to_client,
                } => Stage::Relaying(Box::new(Relaying {
                    upstream: descriptor()?,
                    address: upstream.parse().map_err(|_| Nonsense::Address(upstream))?,
                    replay: replay.map(|kept| bytes.take(kept)).transpose()?,
                    to_upstream: bytes.direction(&to_upstream)?,
                    to_client: bytes.direction(&to_client)?,
                })),
            };
            Ok(Handed {
                listener: connection.listener,
                client,
                address: connection.client,
                age: Duration::from_millis(connection.age_ms),
                stage,
            })
        })
        .collect::<Result<_, _>>()?;
    if descriptor().is_ok() {
        return Err(Nonsense::Descriptors);
    }
    if !bytes.0.is_empty() {
        return Err(Nonsense::Bytes);
    }
    Ok(handed)
}

/// What is left of a payload.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take(&mut self, count: usize) -> Result<Vec<u8>, Nonsense> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Nonsense::Bytes)?;
        self.0 = rest;
        Ok(taken.to_vec())
    }

    fn direction(&mut self, text: &DirectionText) -> Result<Direction, Nonsense> {
        Ok(Direction {
            bytes: text.bytes,
            unsent: self.take(text.unsent)?,
            is_over: text.is_over,
        })
    }
}

/// Grows when a message changes in a way that an older process does not understand.
pub(super) const PROTOCOL: u32 = 1;
/// The kernel passes 253 descriptors at a time (`SCM_MAX_FD`).
const CONNECTIONS_A_MESSAGE: usize = 100;
/// Once there are so many bytes a message is full; the last connection may exceed it by what one keeps.
const PAYLOAD_A_MESSAGE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::{fs::File, net::Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn descriptor() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    fn dialling(bytes: Vec<u8>) -> Handed {
        Handed {
            listener: "api".to_owned(),
            client: descriptor(),
            address: (Ipv6Addr::LOCALHOST, 5).into(),
            age: Duration::from_secs(7),
            stage: Stage::Dialling(bytes),
        }
    }

    fn relaying(up: Vec<u8>, down: Vec<u8>, replay: Option<Vec<u8>>) -> Handed {
        let direction = |unsent, is_over| Direction {
            bytes: 1 << 40,
            unsent,
            is_over,
        };
        Handed {
            stage: Stage::Relaying(Box::new(Relaying {
                upstream: descriptor(),
                address: "[fd00::2]:6443".parse().unwrap(),
                replay,
                to_upstream: direction(up, true),
                to_client: direction(down, false),
            })),
            ..dialling(Vec::new())
        }
    }

    /// Everything about a connection but the numbers of its descriptors.
    fn told(handed: &Handed) -> String {
        let stage = match &handed.stage {
            Stage::Dialling(kept) => format!("{kept:?}"),
            Stage::Relaying(relaying) => format!(
                "{} {:?} {:?} {:?}",
                relaying.address, relaying.replay, relaying.to_upstream, relaying.to_client
            ),
        };
        format!(
            "{} {} {:?} {stage}",
            handed.listener, handed.address, handed.age
        )
    }

    fn through_text(message: &Message) -> Message {
        serde_json::from_str(&serde_json::to_string(message).unwrap()).unwrap()
    }

    fn unpack_parcel(parcel: Parcel) -> Result<Vec<Handed>, Nonsense> {
        let Message::Connections { connections } = through_text(&parcel.message) else {
            panic!("{:?}", parcel.message);
        };
        unpack(connections, &parcel.payload, parcel.descriptors)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_packed_is_unpacked_the_same(
            connections in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..4),
                0..250,
            ),
        ) {
            let handed = |parts: &Vec<Vec<u8>>| match &parts[..] {
                [] => dialling(Vec::new()),
                [kept] => dialling(kept.clone()),
                [up, down] => relaying(up.clone(), down.clone(), None),
                [up, down, replay, ..] => relaying(up.clone(), down.clone(), Some(replay.clone())),
            };
            let mut waiting: VecDeque<Handed> = connections.iter().map(handed).collect();
            let before: Vec<String> = waiting.iter().map(told).collect();
            let mut after = Vec::new();
            while !waiting.is_empty() {
                let parcel = pack(&mut waiting);
                prop_assert!(parcel.descriptors.len() <= 253);
                after.extend(unpack_parcel(parcel).unwrap().iter().map(told));
            }
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn a_descriptor_or_a_byte_too_few_or_too_many_is_refused() {
        let parcel = || pack(&mut [relaying(vec![1], vec![2], None)].into());
        let with = |change: &dyn Fn(&mut Parcel)| {
            let mut parcel = parcel();
            change(&mut parcel);
            unpack_parcel(parcel).map(|handed| handed.len())
        };
        assert_eq!(with(&|_| {}), Ok(1));
        assert_eq!(
            with(&|parcel| drop(parcel.descriptors.pop())),
            Err(Nonsense::Descriptors)
        );
        assert_eq!(
            with(&|parcel| parcel.descriptors.push(descriptor())),
            Err(Nonsense::Descriptors)
        );
        assert_eq!(with(&|parcel| parcel.payload.clear()), Err(Nonsense::Bytes));
        assert_eq!(with(&|parcel| parcel.payload.push(0)), Err(Nonsense::Bytes));
    }

    #[test]
    fn a_full_message_leaves_the_rest_to_the_next() {
        let big = || dialling(vec![0; PAYLOAD_A_MESSAGE]);
        let mut waiting = VecDeque::from([big(), big()]);
        assert_eq!(unpack_parcel(pack(&mut waiting)).unwrap().len(), 1);
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn the_greeting_is_the_same_in_every_protocol() {
        let hello = Message::Hello {
            protocol: PROTOCOL,
            version: "0.1.0".to_owned(),
            generation: 3,
        };
        assert_eq!(
            serde_json::to_string(&hello).unwrap(),
            r#"{"message":"hello","protocol":1,"version":"0.1.0","generation":3}"#
        );
    }
}

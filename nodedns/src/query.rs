//! `nodedns query`: one name, resolved as the server resolves it, with the record
//! of how that was done.

mod report;
mod text;

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use daemon::exit::Failure;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::RecordType;
use hickory_proto::serialize::binary::BinDecodable as _;

use crate::answer::{Answers, Outcome};
use crate::cli::Form;
use crate::client::Arrival;
use crate::config::Name;
use crate::explain::Record;
use crate::query::report::Report;
use crate::resolve::Resolver;
use crate::wire::patch::Transport;
use crate::wire::question;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) rtype: RecordType,
}

/// What is shown of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) form: Form,
    /// Whether people see the way.
    pub(crate) trace: bool,
}

/// Asks, and prints what came of it.
///
/// # Errors
/// There is no answer; the reason is printed already.
pub(crate) async fn run(
    answers: &Answers,
    resolver: &Resolver,
    question: &Question,
    shown: Shown,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let packet = packet(question).map_err(Failure::failed)?;
    let record = Record::new();
    let mut answer = Vec::new();
    let query = question::Query::parse(&packet)
        .map_err(|_| Failure::failed(anyhow!("that is no question")))?;
    let arrival = Arrival {
        from: Ipv4Addr::LOCALHOST.into(),
        // Nothing is cut.
        transport: Transport::Tcp,
        at: Instant::now(),
    };
    match answers.answer_admitted(&mut answer, &packet, &query, arrival) {
        Outcome::Answer | Outcome::Refresh(_) | Outcome::Silence => {}
        Outcome::Miss(miss) => {
            let entry = resolver.resolve(&miss.key, Some(&record)).await;
            answers.finish(&mut answer, &miss, &entry, Instant::now());
        }
    }
    let answer = Message::from_vec(&answer)
        .context("the answer cannot be read")
        .map_err(Failure::failed)?;
    let report = Report::new(question, &answer, &record.steps(), |name| {
        resolver.links(name)
    });
    match print(&report, shown, out) {
        // `nodedns query | head` is no failure.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::failed(error));
        }
        _ => {}
    }
    if report.is_answered() {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::reported(1))
    }
}

/// The query of a client that wants to know whether the answer is authentic (AD,
/// RFC 6840 §5.7), and why it is not.
fn packet(question: &Question) -> anyhow::Result<Vec<u8>> {
    let name = hickory_proto::rr::Name::from_bytes(question.name.as_wire())
        .context("the name cannot be written")?;
    let mut message = Message::query();
    message.add_query(Query::query(name, question.rtype));
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.set_edns(Edns::new());
    message.to_vec().context("the question cannot be written")
}

fn print(report: &Report, shown: Shown, out: &mut impl Write) -> io::Result<()> {
    match shown.form {
        Form::Text => text::print(report, shown.trace, out),
        Form::Json => {
            serde_json::to_writer_pretty(&mut *out, report)?;
            writeln!(out)
        }
    }
}

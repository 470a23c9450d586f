//! `nodedns cache`: what the running nodedns keeps, shown and forgotten.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use daemon::exit::Failure;
use serde::Serialize;

use crate::cli::{Cache, Form};
use crate::control_socket::client::{self, CallError};
use crate::control_socket::protocol::{
    CacheDump, CacheFlushed, CacheStats, KeptAnswer, Reply, Request,
};

/// Has the nodedns that runs do it, and prints what came of it.
///
/// # Errors
/// It does not run, or refuses.
pub(crate) fn run(
    run_dir: &Path,
    what: &Cache,
    form: Form,
    out: &mut impl Write,
) -> Result<ExitCode, Failure> {
    let request = match what {
        Cache::Stats => Request::CacheStats {},
        Cache::Flush { name } => Request::CacheFlush {
            name: name.to_string(),
        },
        Cache::Dump { name } => Request::CacheDump {
            name: name.to_string(),
        },
    };
    print(out, client::ask(run_dir, &request)?, form)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, reply: Reply, form: Form) -> Result<(), Failure> {
    let printed = match (reply, form) {
        (Reply::CacheStats(stats), Form::Json) => json(out, &stats),
        (Reply::CacheFlushed(flushed), Form::Json) => json(out, &flushed),
        (Reply::CacheDump(dump), Form::Json) => json(out, &dump),
        (Reply::CacheStats(stats), Form::Text) => print_stats(out, &stats),
        (Reply::CacheFlushed(CacheFlushed { answers }), Form::Text) => {
            writeln!(out, "forgot {answers} answers")
        }
        (Reply::CacheDump(dump), Form::Text) => print_dump(out, &dump),
        (Reply::Error(_) | Reply::NegativeAnchors(_) | Reply::Health(_) | Reply::Status(_), _) => {
            return Err(Failure::failed(CallError::Unexpected));
        }
    };
    printed.map_err(Failure::failed)
}

fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

fn print_stats(out: &mut impl Write, stats: &CacheStats) -> io::Result<()> {
    let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    writeln!(
        out,
        "{} answers in {:.1} of {:.1} MiB, {} evicted since the start",
        stats.answers,
        mebibytes(stats.bytes),
        mebibytes(stats.capacity),
        stats.evicted
    )
}

fn print_dump(out: &mut impl Write, dump: &CacheDump) -> io::Result<()> {
    if dump.answers.is_empty() {
        return writeln!(out, "nothing is kept there");
    }
    for answer in &dump.answers {
        writeln!(out, "{}", line(answer))?;
    }
    if dump.more > 0 {
        writeln!(out, "and {} more; name a zone to see its part", dump.more)?;
    }
    Ok(())
}

/// `www.example.com. A  NOERROR, 2 records, secure, for 4m; DO`.
fn line(answer: &KeptAnswer) -> String {
    let KeptAnswer {
        name,
        rtype,
        rcode,
        records,
        seconds_left,
        ..
    } = answer;
    let left = daemon::duration::format(Duration::from_secs(*seconds_left));
    let mut line = format!("{name} {rtype}  {rcode}, {records} records");
    if answer.secure {
        line.push_str(", secure");
    }
    line += &format!(", for {left}");
    for (is_set, bit) in [(answer.dnssec_ok, "DO"), (answer.checking_disabled, "CD")] {
        if is_set {
            line += &format!("; {bit}");
        }
    }
    if let Some(note) = &answer.note {
        line += &format!("; {note}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> KeptAnswer {
        KeptAnswer {
            name: "www.example.com.".to_owned(),
            rtype: "A".to_owned(),
            dnssec_ok: true,
            checking_disabled: false,
            rcode: "NOERROR".to_owned(),
            records: 2,
            secure: true,
            seconds_left: 240,
            note: None,
        }
    }

    fn printed(reply: Reply, form: Form) -> String {
        let mut out = Vec::new();
        print(&mut out, reply, form).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn people_see_a_line_each() {
        let broken = KeptAnswer {
            rcode: "SERVFAIL".to_owned(),
            records: 0,
            dnssec_ok: false,
            secure: false,
            seconds_left: 1,
            note: Some("no server answered".to_owned()),
            ..answer()
        };
        let dump = CacheDump {
            answers: vec![answer(), broken],
            more: 7,
        };
        assert_eq!(
            printed(Reply::CacheDump(dump), Form::Text),
            "www.example.com. A  NOERROR, 2 records, secure, for 4m; DO\n\
             www.example.com. A  SERVFAIL, 0 records, for 1s; no server answered\n\
             and 7 more; name a zone to see its part\n"
        );
        let stats = CacheStats {
            answers: 3,
            bytes: 1 << 19,
            capacity: 64 << 20,
            evicted: 1,
        };
        assert_eq!(
            printed(Reply::CacheStats(stats), Form::Text),
            "3 answers in 0.5 of 64.0 MiB, 1 evicted since the start\n"
        );
    }

    #[test]
    fn programs_see_json() {
        let dump = CacheDump {
            answers: vec![answer()],
            more: 0,
        };
        let text = printed(Reply::CacheDump(dump), Form::Json);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"more": 0, "answers": [{
            "name": "www.example.com.",
            "type": "A",
            "dnssec_ok": true,
            "checking_disabled": false,
            "rcode": "NOERROR",
            "records": 2,
            "secure": true,
            "seconds_left": 240,
        }]});
        assert_eq!(value, expected);
    }
}

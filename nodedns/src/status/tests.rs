//! What people see.

use super::*;
use crate::seen::Top;

const METRICS: &str = "nodedns_queries_total{transport=\"udp\"} 900\nnodedns_queries_total{transport=\"tcp\"} 100\n\
nodedns_answers_total{rcode=\"NOERROR\"} 950\nnodedns_answers_total{rcode=\"SERVFAIL\"} 0\n\
nodedns_unanswered_total{reason=\"lost\"} 2\nnodedns_limited_total{limit=\"rate\"} 7\n\
nodedns_cache_lookups_total{result=\"hit\"} 875\nnodedns_cache_lookups_total{result=\"miss\"} 125\n\
nodedns_cache_entries 12\nnodedns_cache_bytes 1048576\nnodedns_tcp_connections 3\n\
nodedns_miss_seconds_bucket{le=\"0.01\"} 100\nnodedns_miss_seconds_bucket{le=\"+Inf\"} 125\n\
nodedns_upstream_queries_total{server=\"udp://192.0.2.53:53\",outcome=\"answered\"} 120\n\
nodedns_upstream_queries_total{server=\"udp://192.0.2.53:53\",outcome=\"late\"} 5\n\
nodedns_upstream_up{server=\"udp://192.0.2.53:53\"} 0\n\
nodedns_upstream_queries_total{server=\"recursion\",outcome=\"answered\"} 1\n";

fn example() -> Status {
    let top = |what: &str, permille, note: Option<&str>| Top {
        what: what.to_owned(),
        permille,
        note: note.map(str::to_owned),
    };
    Status {
        version: "1.2.3".to_owned(),
        pid: 42,
        uptime_seconds: 3_661,
        seen: Some(Summary {
            clients: vec![top("10.0.0.1", 505, None)],
            names: vec![top("www.example.", 1_000, None)],
            failing: vec![top("<b>.example.", 990, Some("no server of . answered"))],
        }),
        ..of(&Scrape::read(METRICS))
    }
}

#[test]
fn a_terminal_shows_all_of_it() {
    insta::assert_snapshot!(text::status(&example()), @r"
    nodedns 1.2.3, process 42, up 1h1m1s
    1000 queries, 3 TCP connections open
    cache: 87.5 % of the questions were known; 12 answers, 1.0 MiB
    misses took at most 10ms (half), 10ms (nine tenths), 10ms (99 %)
    answers: NOERROR 950
    not answered: lost 2
    limits met: rate 7

    servers
      recursion  up, 1 answered, 0 not or late
      udp://192.0.2.53:53  DOWN, 120 answered, 5 not or late

    clients that ask most, lately
       50.5 %  10.0.0.1

    names asked for most, lately
      100.0 %  www.example.

    names that fail most, lately, and why
       99.0 %  <b>.example.  no server of . answered
    ");
}

#[test]
fn a_page_has_it_escaped_and_names_only_where_nobody_else_reads() {
    let mut status = example();
    let page = html::page(&status);
    assert!(
        page.contains("&lt;b&gt;.example.") && !page.contains("<b>"),
        "{page}"
    );
    assert!(page.contains("87.5 %") && page.contains("10.0.0.1") && page.ends_with("</html>\n"));
    status.seen = None;
    let page = html::page(&status);
    assert!(
        !page.contains("10.0.0.1") && page.contains("nodedns status"),
        "{page}"
    );
}

#[test]
fn before_the_first_question_nothing_is_divided() {
    let status = of(&Scrape::read(""));
    assert_eq!((status.hit_permille, status.miss_micros), (None, None));
    assert!(text::status(&status).contains("nothing was asked yet"));
}

#[test]
fn it_reads_back() {
    let json = serde_json::to_string(&example()).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), example());
}

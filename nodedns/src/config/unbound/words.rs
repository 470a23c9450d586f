//! The words about lines of unbound.conf that have no counterpart.

/// The word about an option of the server that is not translated, unless it says what
/// nodedns does anyway.
pub(super) fn of_server(key: &str, value: &str) -> Result<(), String> {
    let word = match key {
        "do-daemonize" | "chroot" | "username" | "directory" | "pidfile" => {
            "is for the unit or the manifest to say"
        }
        "logfile" | "use-syslog" | "log-time-ascii" | "verbosity" | "log-identity" => {
            "is a flag: --log-file, --log-format, --log-level"
        }
        "log-local-actions" | "log-tag-queryreply" => "is part of `query_log`",
        "extended-statistics" | "statistics-interval" | "statistics-cumulative" => {
            "is always there: /metrics on the admin address"
        }
        "incoming-num-tcp" => "is 4,096 an address, of which one client has `limits.connections`",
        "outgoing-num-tcp" | "outgoing-range" | "num-queries-per-thread" | "jostle-timeout" => {
            "has no counterpart: 16,384 questions a worker may wait, of one client `limits.waiting`"
        }
        "msg-cache-slabs" | "rrset-cache-slabs" | "infra-cache-slabs" | "key-cache-slabs" => {
            "has no counterpart: whoever reads the cache waits for no lock"
        }
        "key-cache-size" | "neg-cache-size" | "infra-cache-numhosts" => {
            "has no counterpart: `cache.size` is for answers, all else is small and bounded"
        }
        "so-rcvbuf" | "so-sndbuf" => {
            "has no counterpart: the socket takes what net.core.rmem_max allows, 16 MiB at most"
        }
        "infra-host-ttl" | "infra-lame-ttl" | "infra-cache-min-rtt" => {
            "has no counterpart: a dead server is asked once a second until it answers"
        }
        "prefetch-key" => "has no counterpart: keys are asked for when an answer needs them",
        "serve-expired-ttl-reset" => {
            "has no counterpart: after `cache.stale.max` an answer is gone, however often it is asked for"
        }
        "trust-anchor" | "trusted-keys-file" => {
            "is not translated: put the record into a file and name it in `trust_anchors.files`"
        }
        "local-data-ptr" => "has no counterpart: `hosts` has no reverse names",
        "include" | "include-toplevel" => "is not followed: import that file by itself",
        "outgoing-interface" => "has no counterpart: the kernel's routes decide",
        "ratelimit" | "ip-ratelimit" => "is `limits.queries_per_second`, which is by client",
        "interface-automatic"
        | "so-reuseport"
        | "do-udp"
        | "do-tcp"
        | "do-ip4"
        | "do-ip6"
        | "qname-minimisation"
        | "use-caps-for-id"
        | "harden-glue"
        | "harden-dnssec-stripped"
        | "harden-below-nxdomain"
        | "harden-referral-path"
        | "hide-identity"
        | "hide-version"
        | "hide-trustanchor"
        | "minimal-responses"
        | "edns-tcp-keepalive"
        | "deny-any"
        | "ede"
        | "aggressive-nsec"
        | "answer-cookie"
            if value == "yes" =>
        {
            return Ok(());
        }
        "do-ip6" => "is `listen`: addresses that are not named there are not listened on",
        _ => "has no counterpart",
    };
    Err(word.to_owned())
}

pub(super) const OTHER_CLAUSE: &str = "is of a clause that has no counterpart: commands reach nodedns over a socket in --run-dir, which only its own user may open";
pub(super) const INTERFACE: &str =
    "is no address: left out; name the addresses of that interface in `listen`";
pub(super) const THREADS: &str =
    "kept, but one worker answers more than a node's pods ask: `workers: 1` saves memory";
pub(super) const MIN_TTL: &str = "is 5m at most in `cache.min_ttl`";
pub(super) const ROOT_KEY: &str = "left out: the root's keys are built in, and their rollovers are followed; if the file has others, name it in `trust_anchors.files`";
pub(super) const NOT_ALLOWED: &str = "left out: who is not in `access.allow` is refused; a subnet within one that is allowed cannot be taken out";
pub(super) const LOCAL_ZONE: &str = "has no counterpart: there are addresses in `hosts`, and the special names of RFC 6761 and 6303 are answered here";
pub(super) const LOCAL_DATA: &str = "has no counterpart: `hosts` has addresses (A, AAAA) only";

//! Names through nodedns: of the cluster, from the cache, and of a signed zone.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::ResponseCode;

use crate::demo::dns::{CLUSTER_DNS, FORGED, KUBERNETES, SIGNED};
use crate::demo::progress::Progress;
use crate::demo::question::{Reply, Transport, ask};
use crate::demo::report::{Row, brief};
use crate::demo::scene::Scene;

/// Five rows; everything runs again afterwards.
pub(super) async fn check(scene: &mut Scene, progress: &Progress) -> anyhow::Result<Vec<Row>> {
    let nodedns = scene.nodedns.listen;

    progress.step("asking nodedns for a name of the cluster");
    let resolves = resolves(nodedns).await;

    progress.step("asking again while the name server is down");
    scene.cluster_dns.kill().await?;
    let cached = is_cached(nodedns).await;
    scene.cluster_dns.restart().await?;
    let back = comes_back(nodedns, scene.cluster_dns.back_within()).await;

    progress.step("asking nodedns for names of a signed zone");
    let signed = is_validated(ask(nodedns, SIGNED.0, Transport::Udp).await);
    let forged = is_refused(ask(nodedns, FORGED.0, Transport::Udp).await);
    Ok(vec![resolves, cached, back, signed, forged])
}

async fn resolves(nodedns: SocketAddr) -> Row {
    const CHECK: &str = "a cluster name resolves";
    let mut seen = Vec::new();
    for (transport, name) in [(Transport::Udp, "UDP"), (Transport::Tcp, "TCP")] {
        match address(ask(nodedns, KUBERNETES.0, transport).await, KUBERNETES.1) {
            Ok(reply) => seen.push(format!("{} over {name}", brief(reply.took))),
            Err(reason) => return Row::failed(CHECK, format!("over {name}: {reason}")),
        }
    }
    let (name, address) = KUBERNETES;
    Row::passed(CHECK, format!("{name} {address}: {}", seen.join(", ")))
}

async fn is_cached(nodedns: SocketAddr) -> Row {
    const CHECK: &str = "… from the cache, its name server SIGKILLed";
    match address(
        ask(nodedns, KUBERNETES.0, Transport::Udp).await,
        KUBERNETES.1,
    ) {
        Ok(reply) => Row::passed(CHECK, format!("the same answer in {}", brief(reply.took))),
        Err(reason) => Row::failed(CHECK, reason),
    }
}

/// Asks for a name that no cache can have until the name server, just started again, is found.
async fn comes_back(nodedns: SocketAddr, within: Duration) -> Row {
    const CHECK: &str = "… and anew, the name server back";
    let (name, expected) = CLUSTER_DNS;
    let started = Instant::now();
    loop {
        match address(ask(nodedns, name, Transport::Udp).await, expected) {
            Ok(_) => {
                let took = brief(started.elapsed());
                return Row::passed(CHECK, format!("{name} {expected} after {took}"));
            }
            Err(reason) if started.elapsed() > within => return Row::failed(CHECK, reason),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn is_validated(reply: anyhow::Result<Reply>) -> Row {
    const CHECK: &str = "a signed name is validated";
    let (name, expected) = SIGNED;
    match address(reply, expected) {
        Ok(reply) if reply.authentic => {
            let took = brief(reply.took);
            Row::passed(CHECK, format!("{name} {expected} with AD in {took}"))
        }
        Ok(_) => Row::failed(CHECK, format!("{name} {expected} without AD")),
        Err(reason) => Row::failed(CHECK, format!("{name}: {reason}")),
    }
}

fn is_refused(reply: anyhow::Result<Reply>) -> Row {
    const CHECK: &str = "a forged name is refused";
    let name = FORGED.0;
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => return Row::failed(CHECK, format!("{name}: {error:#}")),
    };
    match (reply.code, &reply.extended_error) {
        (ResponseCode::ServFail, Some(error)) => {
            Row::passed(CHECK, format!("{name} SERVFAIL, {error}"))
        }
        (ResponseCode::ServFail, None) => Row::failed(
            CHECK,
            format!("{name} SERVFAIL, but no Extended DNS Error that says why"),
        ),
        (ResponseCode::NoError, _) => {
            let ad = if reply.authentic { "with" } else { "without" };
            Row::failed(CHECK, format!("{name} was passed on, {ad} AD"))
        }
        (code, _) => Row::failed(CHECK, format!("{name} was answered {code}")),
    }
}

/// The reply, if it is a success with the one address expected; else what is wrong with it.
fn address(reply: anyhow::Result<Reply>, expected: Ipv4Addr) -> Result<Reply, String> {
    let reply = reply.map_err(|error| format!("{error:#}"))?;
    if reply.code != ResponseCode::NoError {
        let why = reply.extended_error.map(|error| format!(", {error}"));
        return Err(format!("{}{}", reply.code, why.unwrap_or_default()));
    }
    if reply.addresses != [expected] {
        return Err(format!("{:?} instead of {expected}", reply.addresses));
    }
    Ok(reply)
}

const PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::question::ExtendedError;
    use crate::demo::report::Outcome;

    fn reply(code: ResponseCode, authentic: bool) -> Reply {
        Reply {
            code,
            authentic,
            addresses: vec![SIGNED.1],
            extended_error: None,
            took: Duration::from_millis(1),
        }
    }

    #[test]
    fn a_signed_name_passes_with_ad_only() {
        let with_ad = is_validated(Ok(reply(ResponseCode::NoError, true)));
        let without = is_validated(Ok(reply(ResponseCode::NoError, false)));
        let failed = is_validated(Ok(reply(ResponseCode::ServFail, false)));
        assert_eq!(with_ad.result, Outcome::Passed);
        assert_eq!(without.result, Outcome::Failed);
        assert_eq!(failed.result, Outcome::Failed);
    }

    #[test]
    fn a_forged_name_passes_with_servfail_and_a_reason() {
        let mut refused = reply(ResponseCode::ServFail, false);
        assert_eq!(is_refused(Ok(refused.clone())).result, Outcome::Failed);
        refused.extended_error = Some(ExtendedError {
            code: 6,
            text: "signature does not match".to_owned(),
        });
        let row = is_refused(Ok(refused));
        assert_eq!(row.result, Outcome::Passed);
        assert_eq!(
            row.detail,
            "forged.demo.example. SERVFAIL, EDE 6 (signature does not match)"
        );
    }

    #[test]
    fn a_forged_name_that_is_passed_on_is_a_failure() {
        for authentic in [false, true] {
            let row = is_refused(Ok(reply(ResponseCode::NoError, authentic)));
            assert_eq!(row.result, Outcome::Failed);
        }
    }

    #[test]
    fn another_address_than_the_names_own_is_a_failure() {
        let wrong = address(Ok(reply(ResponseCode::NoError, false)), KUBERNETES.1);
        assert_eq!(wrong.unwrap_err(), "[192.0.2.80] instead of 10.96.0.1");
    }
}

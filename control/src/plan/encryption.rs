//! The steps that carry the encryption of Secrets at rest on: configurations to be delivered,
//! Secrets to be written anew, and what is waited for.

use super::{Action, Left, Operation, Plan, Reason};
use crate::encryption::configuration::{API_VERSION, KIND};
use crate::encryption::{Encryption, Host, Step};
use crate::object::Key;

/// Adds them to the plan.
pub(super) fn add(plan: &mut Plan, encryption: &Encryption) {
    let (step, name, hosts) = match encryption {
        Encryption::None => return,
        Encryption::Unknown { why } => {
            let why = why.clone();
            plan.left.push(Left {
                key: key("store"),
                reason: Reason::Blocked { why },
            });
            return;
        }
        Encryption::Known { step, key, hosts } => (*step, key, hosts),
    };
    // One after the other, and none after one that did not come back.
    let mut restarted: Vec<Key> = Vec::new();
    for (&address, host) in hosts {
        let key = key(&address.to_string());
        match host {
            Host::Missing | Host::Stale => {
                let exists = *host == Host::Stale;
                let reason = match exists {
                    true => Reason::Encryption {
                        step: step.word(),
                        key: name.clone(),
                    },
                    false => Reason::Missing,
                };
                let action = Action::Deliver {
                    host: address,
                    exists,
                };
                plan.operations.push(operation(key, action, reason));
            }
            Host::Unrestarted => {
                let reason = Reason::Encryption {
                    step: step.word(),
                    key: name.clone(),
                };
                let action = Action::Restart { host: address };
                let mut restart = operation(key.clone(), action, reason);
                restart.depends_on.clone_from(&restarted);
                plan.operations.push(restart);
                restarted.push(key);
            }
            Host::Refused { why } => plan.left.push(Left {
                key,
                reason: Reason::Blocked { why: why.clone() },
            }),
            Host::Delivered { waits: Some(why) } | Host::Silent { why } => plan.left.push(Left {
                key,
                reason: Reason::Waiting { why: why.clone() },
            }),
            Host::Delivered { waits: None } | Host::Loaded => {}
        }
    }
    if step == Step::Rewriting && encryption.may_rewrite() {
        let reason = Reason::Encryption {
            step: step.word(),
            key: name.clone(),
        };
        let rewrite = operation(key("secrets"), Action::RewriteSecrets, reason);
        plan.operations.push(rewrite);
    }
}

const fn operation(key: Key, action: Action, reason: Reason) -> Operation {
    Operation {
        key,
        plural: String::new(),
        action,
        reason,
        changes: Vec::new(),
        depends_on: Vec::new(),
    }
}

/// It is no object of the API, but a file of this kind.
fn key(name: &str) -> Key {
    Key {
        kind: KIND.to_owned(),
        api_version: API_VERSION.to_owned(),
        ..Key::node(name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::desired::Desired;
    use crate::observed::Observed;

    fn planned(step: Step, hosts: &[Host]) -> Plan {
        let address = |last: usize| IpAddr::from([10, 0, 0, u8::try_from(last).unwrap()]);
        let hosts = hosts.iter().cloned().enumerate();
        let encryption = Encryption::Known {
            step,
            key: "new".to_owned(),
            hosts: hosts.map(|(last, host)| (address(last), host)).collect(),
        };
        let observed = Observed {
            encryption,
            ..Observed::default()
        };
        super::super::plan(
            Desired::default(),
            &observed,
            &super::super::Limits::default(),
        )
    }

    fn lines(plan: &Plan) -> Vec<String> {
        let operations = plan
            .operations
            .iter()
            .map(|o| format!("{} {}  {}", o.action.word(), o.key, o.reason));
        let left = plan.left.iter().map(|l| format!("{}  {}", l.key, l.reason));
        operations.chain(left).collect()
    }

    fn waits() -> Host {
        Host::Delivered {
            waits: Some("not loaded".to_owned()),
        }
    }

    #[test]
    fn each_host_gets_the_file_and_is_waited_for() {
        let refused = Host::Refused {
            why: "not ours".to_owned(),
        };
        let plan = planned(
            Step::Promoting,
            &[Host::Missing, Host::Stale, refused, waits(), Host::Loaded],
        );
        assert_eq!(
            lines(&plan),
            [
                "create EncryptionConfiguration 10.0.0.0  missing",
                "update EncryptionConfiguration 10.0.0.1  encryption: API servers begin to write \
                 with the new key (new)",
                "EncryptionConfiguration 10.0.0.2  blocked: not ours",
                "EncryptionConfiguration 10.0.0.3  waiting: not loaded",
            ]
        );
        assert!(!plan.is_converged());
    }

    #[test]
    fn api_servers_are_restarted_one_after_the_other() {
        let plan = planned(
            Step::Promoting,
            &[Host::Unrestarted, Host::Loaded, Host::Unrestarted],
        );
        let restart = |address: &str| {
            format!(
                "restart EncryptionConfiguration {address}  encryption: API servers begin to write \
                 with the new key (new)"
            )
        };
        assert_eq!(lines(&plan), [restart("10.0.0.0"), restart("10.0.0.2")]);
        assert_eq!(plan.operations[0].depends_on, []);
        assert_eq!(plan.operations[1].depends_on, [key("10.0.0.0")]);
    }

    #[test]
    fn secrets_are_written_anew_only_once_every_api_server_writes_with_the_new_key() {
        for unready in [Host::Missing, Host::Stale, Host::Unrestarted, waits()] {
            let plan = planned(Step::Rewriting, &[Host::Loaded, unready]);
            assert!(lines(&plan).iter().all(|line| !line.contains("rewrite")));
        }
        let why = "vouched for before".to_owned();
        let silent = planned(Step::Rewriting, &[Host::Loaded, Host::Silent { why }]);
        assert!(lines(&silent)[0].starts_with("rewrite "));
        let plan = planned(Step::Rewriting, &[Host::Loaded, Host::Loaded]);
        assert_eq!(
            lines(&plan),
            [
                "rewrite EncryptionConfiguration secrets  encryption: all Secrets are written anew (new)"
            ]
        );
        assert_eq!(lines(&planned(Step::Rewriting, &[])), [""; 0]);
    }

    #[test]
    fn what_is_settled_is_converged() {
        let host = Host::Delivered { waits: None };
        assert!(planned(Step::Settled, &[host]).is_converged());
        let plan = planned(Step::Settled, &[Host::Stale]);
        assert_eq!(
            lines(&plan),
            ["update EncryptionConfiguration 10.0.0.0  encryption: not as wanted (new)"]
        );
    }
}

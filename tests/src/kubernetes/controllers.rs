//! What makes a cluster act: kube-controller-manager and kube-scheduler.

use crate::binaries;
use crate::launch::Launch;
use crate::peer::Peer;
use crate::pki::Pki;
use crate::place::Place;

/// Both, running. They need [`super::Builder::service_accounts`].
#[derive(Debug)]
pub struct Controllers {
    _manager: Peer,
    _scheduler: Peer,
}

impl Controllers {
    /// Starts them with the API at this URL, where it need not be yet. There is one of each, so they need
    /// no election.
    ///
    /// `None` when one is missing on this machine; the skip has then been reported.
    ///
    /// # Panics
    ///
    /// When they cannot be started.
    #[must_use]
    pub fn start(place: &Place, pki: &Pki, url: &str) -> Option<Self> {
        let manager = binaries::built("kube-controller-manager")?;
        let scheduler = binaries::built("kube-scheduler")?;
        let launch = |program: &std::path::Path, user: &str| {
            let kubeconfig = pki.kubeconfig(&pki.client(user, None), url);
            let name = user.trim_start_matches("system:");
            Launch::new(place, name, program)
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .arg("--leader-elect=false")
        };
        Some(Self {
            _manager: launch(&manager, "system:kube-controller-manager")
                .arg(format!("--root-ca-file={}", pki.ca_file().display()))
                .arg(format!(
                    "--service-account-private-key-file={}",
                    pki.service_account_private_key().display()
                ))
                .arg("--use-service-account-credentials")
                // A node that is gone is known as gone sooner.
                .arg("--node-monitor-grace-period=20s")
                .start(),
            _scheduler: launch(&scheduler, "system:kube-scheduler").start(),
        })
    }
}

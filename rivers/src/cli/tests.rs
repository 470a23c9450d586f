//! Command lines, and the sentence for each that is wrong.

use super::*;

fn parse(line: &str) -> Result<Command, Result<ExitCode, Failure>> {
    Command::parse(line.split(' ').map(OsString::from))
}

fn config(line: &str) -> Config {
    match parse(line).unwrap() {
        Command::Run(config, _) | Command::Check(config) => config,
        other => panic!("{line} is {other:?}"),
    }
}

#[test]
fn ckes_flags_work_with_one_dash_or_two_and_with_space_or_equals_sign() {
    let lines = [
        "rivers --listen 127.0.0.1:16443 --upstreams 10.0.0.1:6443,10.0.0.2:6443 --check-interval 5s --dial-timeout 3s --dial-keep-alive 20s --shutdown-timeout 0 --logfile /tmp/rivers.log --loglevel warning --logformat logfmt",
        "rivers -listen=127.0.0.1:16443 -upstreams=10.0.0.1:6443,10.0.0.2:6443 -check-interval=5s -dial-timeout=3s -dial-keep-alive=20s -shutdown-timeout=0 -logfile=/tmp/rivers.log -loglevel=warn -logformat=logfmt",
        "rivers check -listen 127.0.0.1:16443 -upstreams 10.0.0.1:6443,10.0.0.2:6443 --check-interval=5s -dial-timeout 3s -dial-keep-alive 20s --shutdown-timeout=0s -logfile /tmp/rivers.log -loglevel warn -logformat logfmt",
    ];
    for line in lines {
        let config = config(line);
        let listener = &config.listeners[0];
        assert_eq!(listener.listen.to_string(), "127.0.0.1:16443");
        assert_eq!(listener.upstreams.len(), 2);
        assert_eq!(listener.health.interval, Duration::from_secs(5));
        assert_eq!(listener.health.readyz_interval, Duration::from_secs(5));
        assert_eq!(listener.dial_timeout, Duration::from_secs(3));
        assert_eq!(listener.keepalive, Duration::from_secs(20));
        assert_eq!(config.shutdown_timeout, None);
        assert_eq!(config.log.level, Level::Warn);
        assert_eq!(config.log.format, Format::Logfmt);
        assert_eq!(config.log.file, Some(PathBuf::from("/tmp/rivers.log")));
    }
}

#[test]
fn with_flags_a_taken_admin_port_does_not_end_the_program() {
    let line = "rivers --listen :16443 --upstreams 10.0.0.1:6443";
    assert!(!config(line).admin.unwrap().required);
    assert!(config(&format!("{line} --admin off")).admin.is_none());
}

#[test]
fn discovery_and_the_folder_for_its_cache_can_be_given_by_flags() {
    let line = "rivers --listen :16443 --upstreams 10.0.0.1:6443";
    assert_eq!(config(line).listeners[0].discovery, None);
    assert_eq!(config(line).state_dir, Path::new("/var/lib/rivers"));
    let config = config(&format!(
        "{line} --kubeconfig /etc/kubeconfig --state-dir /tmp"
    ));
    let discovery = config.listeners[0].discovery.as_ref().unwrap();
    assert_eq!(discovery.kubeconfig, Path::new("/etc/kubeconfig"));
    assert_eq!(config.state_dir, Path::new("/tmp"));
}

#[test]
fn flags_go_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rivers.yml");
    let text = "listeners:\n- {listen: ':16443', upstreams: ['10.0.0.1:6443']}\nadmin: off\n";
    std::fs::write(&path, text).unwrap();
    let path = path.display();
    let line =
        format!("rivers --config {path} --admin 127.0.0.1:1 --loglevel debug --state-dir /tmp");
    let Command::Run(config, Some(source)) = parse(&line).unwrap() else {
        panic!("{line} is to run")
    };
    for config in [config, source.load().unwrap()] {
        assert!(config.admin.unwrap().required);
        assert_eq!(config.log.level, Level::Debug);
        assert_eq!(config.state_dir, Path::new("/tmp"));
    }
}

#[test]
fn who_is_asked_is_the_default_admin_endpoint_or_the_one_named() {
    let Command::Status { admin, form } = parse("rivers status").unwrap() else {
        panic!("status")
    };
    assert_eq!((admin, form), (DEFAULT_ADMIN, Form::Text));
    let line = "rivers explain [::1]:5 -admin 127.0.0.1:1 -o json";
    let Command::Explain {
        client,
        admin,
        form,
    } = parse(line).unwrap()
    else {
        panic!("explain")
    };
    assert_eq!(client, "[::1]:5".parse().unwrap());
    assert_eq!((admin, form), ("127.0.0.1:1".parse().unwrap(), Form::Json));
}

#[test]
fn every_mistake_is_usage() {
    for line in [
        "rivers --listen 127.0.0.1:16443",
        "rivers --dial-timeout 3s",
        "rivers --listen :1 --upstreams 10.0.0.1:6443 --dial-timeout 0s",
        "rivers --config /nowhere/rivers.yml",
        "rivers --lisen :1",
        "rivers chekc",
        "rivers --listen localhost --upstreams a:1",
        "rivers --listen :1 --upstreams a",
        "rivers --config a.yml --listen :1",
        "rivers --shutdown-timeout 10",
        "rivers --loglevel loud",
        "rivers status --listen :1",
        "rivers status -o xml",
        "rivers explain 127.0.0.1",
    ] {
        let failure = format!("{:?}", parse(line).unwrap_err().unwrap_err());
        assert!(failure.contains("code: 2"), "{line}: {failure}");
    }
}

#[test]
fn help_teaches() {
    let mut command = Cli::command().term_width(100);
    insta::assert_snapshot!("help", command.render_long_help());
    let check = command.find_subcommand_mut("check").unwrap();
    insta::assert_snapshot!("help_check", check.render_long_help());
    let status = command.find_subcommand_mut("status").unwrap();
    insta::assert_snapshot!("help_status", status.render_long_help());
    let explain = command.find_subcommand_mut("explain").unwrap();
    insta::assert_snapshot!("help_explain", explain.render_long_help());
}

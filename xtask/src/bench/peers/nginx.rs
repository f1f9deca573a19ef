//! nginx: the backend behind every row, and the row `nginx-plain`, a proxy that governs nothing.

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::super::http::ANSWER;
use super::super::lab::Lab;
use super::super::server::{Server, free_address};

/// Starts the backend on the load's cores: reads the request's body, answers [`ANSWER`].
///
/// # Errors
/// When nginx is missing or does not start.
pub(in crate::bench) fn start_backend(lab: &Lab) -> Result<(Server, SocketAddrV4)> {
    let address = free_address()?;
    let server = format!("location / {{ default_type application/json; return 200 '{ANSWER}'; }}");
    let directory = lab.fresh_directory("backend")?;
    let file = directory.join("nginx.conf");
    std::fs::write(&file, config(1, address, "", &server))?;
    let mut server = Server::start("backend", &mut command(lab.peers.nginx()?, &file), &lab.cores.load, &directory)?;
    server.wait_listening(address)?;
    Ok((server, address))
}

/// Starts the row.
///
/// # Errors
/// When nginx is missing or does not start.
pub(in crate::bench) fn start_plain(lab: &Lab, backend: SocketAddrV4) -> Result<(Server, SocketAddrV4)> {
    let address = free_address()?;
    let upstream = format!(
        "upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; keepalive_timeout 300s; }}"
    );
    let server = "location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ''; }";
    let config = config(lab.workers, address, &upstream, server);
    let binary = lab.peers.nginx()?;
    let server =
        super::start_listening(lab, "nginx-plain", "nginx.conf", &config, address, |file| command(binary, file))?;
    Ok((server, address))
}

fn command(binary: &Path, config: &Path) -> Command {
    let mut command = Command::new(binary);
    let directory = config.parent().unwrap_or(Path::new("."));
    command.arg("-p").arg(directory).arg("-c").arg(config).arg("-e").arg(directory.join("error.log"));
    command
}

/// One worker needs no master process. Heads fit the first buffer, which saves a second allocation per request.
fn config(workers: usize, address: SocketAddrV4, http: &str, server: &str) -> String {
    let master = if workers == 1 { "off" } else { "on" };
    let reuse_port = if workers == 1 { "" } else { " reuseport" };
    format!(
        "daemon off; master_process {master}; worker_processes {workers}; pid nginx.pid; error_log error.log warn;
worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off; tcp_nodelay on; client_header_buffer_size 8k;
  keepalive_timeout 300s; keepalive_requests 1000000000;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  {http}
  server {{ listen {address}{reuse_port}; {server} }}
}}
"
    )
}

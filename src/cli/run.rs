//! `lanlord run`: the agent, one per node.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::origin::Origin;

/// Run the agent of one node: assign addresses, answer ARP and NDP and speak BGP for them
#[derive(Args, Clone, Debug)]
#[command(after_help = "The Kubernetes API is found in the usual order: the file KUBECONFIG names or ~/.kube/config, else the service
account of the pod. Raw sockets need CAP_NET_RAW: run as root, or `setcap cap_net_raw+p lanlord`.

Examples:
  lanlord run --node pi1
  lanlord run --node pi1 --config /etc/lanlord/lanlord.yaml --http 127.0.0.1:7475
  lanlord run --node pi1 --config configmap:lanlord/lanlord --config crds:lanlord,metallb-system
  lanlord run --node pi1 --page-for everyone    (then http://ADDRESS-OF-THE-NODE:7475/ shows it to the whole LAN)")]
pub struct Run {
    /// Name of the Node object this agent runs on
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node: String,

    /// Where the configuration is: configmap:NAMESPACE/NAME, or a file or directory; and crds:NAMESPACE,… for the custom resources
    /// of MetalLB, alone or beside it (give --config twice); every edit takes effect at once
    #[arg(long, value_name = "SOURCE", default_value = "configmap:lanlord/lanlord")]
    pub config: Vec<Origin>,

    /// Namespace of the Leases that record who has which address
    #[arg(long, value_name = "NAMESPACE", default_value = "lanlord")]
    pub namespace: String,

    /// Address of health, metrics, status and the status page; who sees the last two, --page-for says
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "[::]:7475")]
    pub http: SocketAddr,

    /// Who may see the status page (/), /status and /events: names and addresses of the cluster, nothing secret, nothing to change
    #[arg(long, value_enum, value_name = "WHO", default_value_t = PageFor::ThisHost)]
    pub page_for: PageFor,

    /// Unix socket for `lanlord health`: speaks of this very instance while two run side by side
    #[arg(long, value_name = "PATH")]
    pub health_socket: Option<PathBuf>,

    /// Directory in memory in which this agent remembers what it announces, for a restart while the API server is down
    #[arg(long, value_name = "DIR", default_value = "/run/lanlord/state")]
    pub state: PathBuf,

    /// Level of log lines: error, warn, info, debug, trace, or a list such as info,lanlord::l2=debug
    #[arg(long, env = "LANLORD_LOG", value_name = "LEVEL", default_value = "info")]
    pub log: String,

    /// Form of log lines
    #[arg(long, value_enum, value_name = "FORM", default_value_t = LogForm::Text)]
    pub log_format: LogForm,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum LogForm {
    /// key=value
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Who may see the status page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub enum PageFor {
    /// Whoever asks from this host, so also `kubectl port-forward`
    #[default]
    ThisHost,
    /// Everyone who reaches the port
    Everyone,
}

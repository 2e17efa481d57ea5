//! Two well-known MetalLB guides, typed in as they stand: their documents into the ConfigMap, their Services, their commands that look
//! at the result, their failover test. Only their network, 192.168.1.0/24, is written as the laboratory's. What has another name
//! here is typed as `docs/guides.md` says.

use std::fs;
use std::net::IpAddr;

use crate::support::Cluster;
use crate::support::Options;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The laboratory's spelling of a guide's text. There, .100 is the client.
fn here(text: &str) -> String {
    text.replace("192.168.1.100-", "10.77.0.101-").replace("192.168.1.", "10.77.0.")
}

/// A command line as a person types it on a machine of the LAN.
#[track_caller]
fn typed(cluster: &Cluster, line: &str) -> String {
    cluster.script(&["exec"], &["cl", "bash", "-o", "pipefail", "-c", line])
}

/// Makes these documents of the guides the configuration.
#[track_caller]
pub(crate) fn configure(cluster: &Cluster, documents: &[&str]) {
    let mut files = String::new();
    for document in documents {
        let text = fs::read_to_string(format!("{ROOT}/tests/golden/guides/{document}.yaml")).expect("a document of a guide");
        let file = cluster.path(&format!("{document}.yaml"));
        fs::write(&file, here(&text)).expect("its directory is there");
        files += &format!(" --from-file {}", file.display());
    }
    typed(cluster, &format!("kubectl create configmap lanlord -n lanlord{files} --dry-run=client -o yaml | kubectl apply -f -"));
}

fn owner(cluster: &Cluster, address: &str) -> Option<String> {
    cluster.client.owner_of(address.parse::<IpAddr>().expect("an address"))
}

#[track_caller]
fn wait_for_address(cluster: &Cluster, service: &str, address: &str) {
    cluster.wait_until(10, &format!("{service} has {address}"), || cluster.address(service).as_deref() == Some(address));
}

#[track_caller]
fn wait_for_answer(cluster: &Cluster, url: &str) -> String {
    cluster.wait_until(10, &format!("{url} answers"), || cluster.client.http(url).is_ok());
    cluster.client.http(url).expect("it did before")
}

#[track_caller]
fn wait_for_event(cluster: &Cluster, service: &str, words: &[&str]) {
    cluster.wait_until(10, &format!("{service} is told {words:?}"), || cluster.told(service, words));
}

const INGRESS_NGINX: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: ingress-nginx}}
  template:
    metadata: {labels: {app.kubernetes.io/name: ingress-nginx}}
    spec:
      containers:
        - name: controller
          image: ingress-nginx
          ports: [{name: http, containerPort: 80}, {name: https, containerPort: 443}]
---
# Request a specific IP from a specific pool
apiVersion: v1
kind: Service
metadata:
  name: ingress-nginx
  namespace: ingress-nginx
  annotations:
    metallb.universe.tf/address-pool: ingress-pool
    metallb.universe.tf/loadBalancerIPs: 192.168.1.200
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local   # Preserve client source IP
  selector:
    app.kubernetes.io/name: ingress-nginx
  ports:
    - name: http
      port: 80
      targetPort: http
    - name: https
      port: 443
      targetPort: https
"#;

const MY_APP: &str = r"
# Standard LoadBalancer Service — MetalLB assigns an IP automatically
apiVersion: v1
kind: Service
metadata:
  name: my-app
  namespace: production
spec:
  type: LoadBalancer
  selector:
    app: my-app
  ports:
    - name: http
      port: 80
      targetPort: 8080
    - name: https
      port: 443
      targetPort: 8443
";

#[test]
fn the_bare_metal_guide_works_as_it_stands() {
    let cluster = Cluster::start(&Options::default());
    configure(&cluster, &["bare-metal-two-pools", "bare-metal-advertise-all", "bare-metal-advertise-ingress"]);
    cluster.agents_start();

    // Verify Layer 2 mode is working
    typed(&cluster, "kubectl create deployment nginx-test --image=nginx");
    typed(&cluster, "kubectl expose deployment nginx-test --port=80 --type=LoadBalancer");
    wait_for_address(&cluster, "nginx-test", "10.77.0.200");
    assert!(typed(&cluster, "kubectl get service nginx-test").contains("10.77.0.200"));
    assert!(wait_for_answer(&cluster, "http://10.77.0.200").contains("pod=nginx-test-"));
    let mac = typed(&cluster, "ping -c 1 -W 1 10.77.0.200 >/dev/null; ip neigh show 10.77.0.200");
    assert!(mac.contains("02:77:00:00:00:"), "what `arp -n` shows: {mac}");
    typed(&cluster, "kubectl delete service nginx-test");

    typed(&cluster, "kubectl create namespace production && kubectl create namespace ingress-nginx");
    typed(&cluster, "kubectl create deployment my-app -n production --image=my-app --port=8080");
    cluster.apply(MY_APP);
    cluster.apply(&here(INGRESS_NGINX));
    let ingress = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    let address = |namespace: &str, name: &str| cluster.kubectl(&["get", "service", name, "-n", namespace, "-o", ingress]);
    cluster.wait_until(10, "the address asked for", || address("ingress-nginx", "ingress-nginx") == "10.77.0.200");
    cluster.wait_until(10, "any address", || !address("production", "my-app").is_empty());
    let seen = wait_for_answer(&cluster, "http://10.77.0.200");
    assert!(seen.ends_with("client=10.77.0.100"), "the client's address is preserved: {seen}");
    let my_app = address("production", "my-app");
    assert!(wait_for_answer(&cluster, &format!("http://{my_app}")).contains("pod=my-app-"));

    // List all assigned IPs
    let listed = typed(
        &cluster,
        "kubectl get services -A --field-selector spec.type=LoadBalancer \
         -o custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,EXTERNAL-IP:.status.loadBalancer.ingress[0].ip'",
    );
    let words = |name: &str| listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|words| words.contains(&name));
    assert_eq!(words("my-app").expect(&listed), ["production", "my-app", &my_app]);
    assert_eq!(words("ingress-nginx").expect(&listed)[2], "10.77.0.200");

    // Monitor MetalLB events
    let events = typed(&cluster, "kubectl get events -A --field-selector reportingComponent=lanlord --sort-by='.lastTimestamp'");
    assert!(events.contains("assigned 10.77.0.200 from pool ingress-pool"), "{events}");
    // Check speaker logs for ARP/BGP activity
    let logs: String = cluster.nodes().map(|node| node.log()).collect();
    assert!(logs.lines().any(|line| line.contains("announcing") && line.contains("10.77.0.200") && line.contains("ingress-nginx")));
}

const NGINX_DEMO: &str = r#"
# Sample nginx deployment for testing MetalLB
apiVersion: apps/v1
kind: Deployment
metadata:
  name: nginx-demo
  namespace: default
spec:
  replicas: 3
  selector:
    matchLabels:
      app: nginx-demo
  template:
    metadata:
      labels:
        app: nginx-demo
    spec:
      containers:
        - name: nginx
          image: nginx:1.25
          ports:
            - containerPort: 80
---
# LoadBalancer service that will receive an IP from MetalLB
apiVersion: v1
kind: Service
metadata:
  name: nginx-lb
  namespace: default
spec:
  type: LoadBalancer
  externalTrafficPolicy: Cluster
  selector:
    app: nginx-demo
  ports:
    - name: http
      port: 80
      targetPort: 80
      protocol: TCP
---
# Service requesting a specific IP address from MetalLB
apiVersion: v1
kind: Service
metadata:
  name: nginx-specific-ip
  namespace: default
  annotations:
    metallb.universe.tf/loadBalancerIPs: "192.168.1.245"
spec:
  type: LoadBalancer
  selector:
    app: nginx-demo
  ports:
    - port: 80
      targetPort: 80
"#;

const PRIORITY_SERVICE: &str = r"
# Service using a specific address pool
apiVersion: v1
kind: Service
metadata:
  name: priority-service
  namespace: default
  annotations:
    # Request IP from the priority pool (which has autoAssign: false)
    metallb.universe.tf/address-pool: priority-pool
spec:
  type: LoadBalancer
  selector:
    app: critical-app
  ports:
    - port: 443
      targetPort: 8443
";

/// A Service in front of nginx-demo with one annotation.
fn annotated(cluster: &Cluster, name: &str, annotation: &str) {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, annotations: {{{annotation}}}}}, \
         spec: {{type: LoadBalancer, selector: {{app: nginx-demo}}, ports: [{{port: 80}}]}}}}"
    ));
}

/// The tutorial's smaller documents, one after the other on a running cluster.
fn every_kind_of_pool_and_advertisement(cluster: &Cluster) {
    configure(cluster, &["layer2-pool", "layer2-advertisement-by-interface"]);
    wait_for_answer(cluster, "http://10.77.0.240");

    // Selected nodes, several ranges, a pool on request.
    configure(cluster, &["layer2-pool-with-several-ranges", "layer2-pool-on-request", "layer2-advertisement-by-node"]);
    wait_for_address(cluster, "nginx-lb", "10.77.0.101");
    wait_for_event(cluster, "nginx-lb", &["not announced", "no running node matches the nodeSelectors for pool production-pool"]);
    typed(cluster, "kubectl label node n3 topology.kubernetes.io/zone=zone-b");
    wait_for_answer(cluster, "http://10.77.0.101");
    assert_eq!(owner(cluster, "10.77.0.101").as_deref(), Some("n3"));
    annotated(cluster, "database", "metallb.universe.tf/address-pool: database-pool");
    wait_for_address(cluster, "database", "10.77.0.50");
    wait_for_event(cluster, "database", &["no advertisement reaches pool database-pool"]);
    annotated(cluster, "buggy", "metallb.universe.tf/loadBalancerIPs: 10.0.0.0");
    wait_for_event(cluster, "buggy", &["AllocationFailed", "avoids addresses that end in .0 or .255"]);
    typed(cluster, "kubectl delete service database buggy");

    // Pools by purpose.
    configure(cluster, &["layer2-pools-by-purpose", "bare-metal-advertise-all"]);
    annotated(cluster, "internal", "metallb.universe.tf/address-pool: internal-services-pool");
    wait_for_address(cluster, "internal", "10.77.0.120");
    wait_for_answer(cluster, "http://10.77.0.120");
    assert_eq!(cluster.address("nginx-lb").as_deref(), Some("10.77.0.101"), "it stays where it may");
    typed(cluster, "kubectl delete service internal");
}

#[test]
fn the_layer_2_tutorial_works_as_it_stands() {
    let cluster = Cluster::start(&Options::default());
    configure(&cluster, &["layer2-pool", "layer2-advertisement"]);
    cluster.agents_start();
    cluster.apply(&here(NGINX_DEMO));
    wait_for_address(&cluster, "nginx-lb", "10.77.0.240");
    assert!(typed(&cluster, "kubectl get service nginx-lb").contains("10.77.0.240"));
    assert!(wait_for_answer(&cluster, "http://10.77.0.240").contains("pod=nginx-demo-"));
    wait_for_address(&cluster, "nginx-specific-ip", "10.77.0.245");
    every_kind_of_pool_and_advertisement(&cluster);

    // Complete configuration example
    configure(&cluster, &["layer2-complete"]);
    wait_for_address(&cluster, "nginx-lb", "10.77.0.240");
    wait_for_answer(&cluster, "http://10.77.0.240");
    typed(&cluster, "kubectl create deployment critical-app --image=critical-app --port=8443");
    cluster.apply(PRIORITY_SERVICE);
    wait_for_address(&cluster, "priority-service", "10.77.0.200");
    wait_for_event(&cluster, "priority-service", &["not announced", "node-role.kubernetes.io/worker"]);
    typed(&cluster, "kubectl label node n2 node-role.kubernetes.io/worker=true");
    assert!(wait_for_answer(&cluster, "http://10.77.0.200:443").contains("pod=critical-app-"));
    assert_eq!(owner(&cluster, "10.77.0.200").as_deref(), Some("n2"), "only workers announce it");

    looks(&cluster);
    failover(&cluster);
}

/// The commands that look at the result.
fn looks(cluster: &Cluster) {
    let node = owner(cluster, "10.77.0.240").expect("somebody answers");
    let described = typed(cluster, "kubectl describe service nginx-lb | grep -i \"Events\" -A 30");
    assert!(described.contains("IPAllocated") && described.contains("assigned 10.77.0.240"), "{described}");
    let described = typed(cluster, "kubectl describe service nginx-lb");
    assert!(described.contains(&format!("10.77.0.240 by {node} on eth0 (layer2) since")), "who, where, since when: {described}");
    let listed = typed(cluster, "kubectl get services --all-namespaces | grep LoadBalancer");
    for address in ["10.77.0.240", "10.77.0.245", "10.77.0.200"] {
        assert!(listed.contains(address), "{listed}");
    }
    let leases = typed(cluster, "kubectl get leases -n lanlord");
    let held = |lease: &str, holder: &str| leases.lines().any(|line| line.starts_with(lease) && line.contains(holder));
    assert!(held("ip.10.77.0.240", "default/nginx-lb") && held("node.n1", "n1/") && held("leader", "/"), "{leases}");
    assert!(typed(cluster, "kubectl get lease node.n1 -n lanlord -o yaml").contains("10.77.0.11/24"));
    assert!(typed(cluster, "kubectl get configmap lanlord -n lanlord -o yaml").contains("kind: IPAddressPool"));
    assert!(typed(cluster, "kubectl get all,leases,configmaps -n lanlord").contains("daemonset.apps/lanlord"));
    assert!(typed(cluster, "curl -s http://10.77.0.11:7475/metrics").contains("lanlord_"));

    // The tutorial's greps on the logs of the speakers.
    let matches = |pattern: &str| typed(cluster, &format!("grep -hE '{pattern}' {}/agent-*.log", cluster.path("log").display()));
    assert!(matches("10.77.0.240").contains("announcing"));
    let monitored = matches("(leader|announce|withdraw|elected)");
    assert!(monitored.contains("leader=true") && monitored.contains("withdrawn address=10.77.0.240"), "{monitored}");
    let monitored = matches("leader|announc|withdrawn|owner");
    assert!(monitored.contains("announcing address=10.77.0.240"), "{monitored}");
}

/// Simulate a node failure, and what `docs/guides.md` says of it.
fn failover(cluster: &Cluster) {
    let node = owner(cluster, "10.77.0.240").expect("somebody answers");
    typed(cluster, &format!("kubectl cordon {node} && kubectl drain {node} --ignore-daemonsets --delete-emptydir-data --timeout=30s"));
    // Verify connectivity during and after failover
    let codes = || {
        let curl = "curl -s -m 2 -o /dev/null -w \"%{http_code}\\n\" http://10.77.0.240 || echo \"Connection failed\"";
        typed(cluster, &format!("for i in {{1..10}}; do {curl}; sleep 0.2; done"))
    };
    cluster.wait_until(20, "another node answers", || owner(cluster, "10.77.0.240").is_some_and(|now| now != node));
    // Pods that ended a moment ago may still be tried: kube-proxy is not told before they are.
    cluster.wait_until(20, "ten of ten", || codes() == ["200"; 10].join("\n"));
    typed(cluster, &format!("kubectl uncordon {node}"));

    // The end of that node's agent, which `kubectl delete pod` asks for by SIGTERM.
    let node = owner(cluster, "10.77.0.240").expect("somebody answers");
    cluster.node(&node).agent_stop();
    cluster.wait_until(15, "another node answers", || owner(cluster, "10.77.0.240").is_some_and(|now| now != node));
    assert_eq!(codes(), ["200"; 10].join("\n"));
    let log = cluster.node(&node).log();
    assert!(log.lines().any(|line| line.contains("withdrawn") && line.contains("10.77.0.240")), "in order: {log}");
}

//! Tests of OpenTelemetry's variables: defaults, precedence and errors.

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, InvalidSetting> {
    Settings::read("app", &|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

fn given(variables: &[(&str, &str)]) -> Settings {
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
    read(&[variables, &endpoint].concat()).ok().flatten().unwrap()
}

#[test]
fn without_an_endpoint_there_are_no_traces() {
    for variables in [
        &[][..],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
        &[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "always_on")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), ("OTEL_SDK_DISABLED", "True")],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x"), ("OTEL_TRACES_EXPORTER", "none")],
    ] {
        assert!(read(variables).unwrap().is_none(), "{variables:?}");
    }
    let asked = read(&[("OTEL_TRACES_EXPORTER", "otlp")]).unwrap().unwrap();
    assert_eq!(asked.endpoint, "http://localhost:4318/v1/traces");
}

#[test]
fn the_path_is_added_to_the_endpoint_of_all_signals_only() {
    let endpoint = |name: &'static str, url: &str, protocol: &str| {
        let variables = [(name, url), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        read(&variables).unwrap().unwrap().endpoint.to_string()
    };
    let all = |url, protocol| endpoint("OTEL_EXPORTER_OTLP_ENDPOINT", url, protocol);
    let traces = |url, protocol| endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url, protocol);
    assert_eq!(all("http://c:4318", ""), "http://c:4318/v1/traces");
    assert_eq!(all("https://c/otlp/", "http/protobuf"), "https://c/otlp/v1/traces");
    assert_eq!(traces("http://c:4318/mine", ""), "http://c:4318/mine");
    let grpc = "opentelemetry.proto.collector.trace.v1.TraceService/Export";
    assert_eq!(all("http://c:4317", "grpc"), format!("http://c:4317/{grpc}"));
    assert_eq!(traces("https://c:4317", "grpc"), format!("https://c:4317/{grpc}"));
}

#[test]
fn what_is_said_of_traces_goes_first() {
    let settings = given(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20x, b=2"),
    ]);
    assert_eq!((settings.timeout, settings.protocol), (Duration::from_millis(2), Protocol::Http));
    assert_eq!(settings.headers.get("authorization").unwrap(), "Bearer x");
    assert_eq!((settings.headers.get("b").unwrap().as_bytes(), settings.headers.len()), (&b"2"[..], 2));
    assert!(settings.headers.values().all(HeaderValue::is_sensitive));
}

#[test]
fn the_service_has_a_name() {
    let resource = |variables: &[_]| given(variables).resource;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(resource(&[]), [pair("service.name", "app")]);
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "a=1,service.name=b%2Cc,,deployment.environment.name=x");
    let rest = [pair("a", "1"), pair("deployment.environment.name", "x")];
    assert_eq!(resource(&[attributes]), [&[pair("service.name", "b,c")][..], &rest].concat());
    let both = resource(&[attributes, ("OTEL_SERVICE_NAME", "d")]);
    assert_eq!(both, [&[pair("service.name", "d")][..], &rest].concat());
}

#[test]
fn samplers_and_propagators_are_those_of_the_standard() {
    let sampler =
        |name, share| given(&[("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)]).sampler;
    assert_eq!(given(&[]).sampler, Sampler { root: Root::On, parent_based: true });
    assert_eq!(sampler("always_off", ""), Sampler { root: Root::Off, parent_based: false });
    let half = Sampler { root: Root::Below(1 << 62), parent_based: true };
    assert_eq!(sampler("parentbased_traceidratio", "0.5"), half);
    assert_eq!(sampler("traceidratio", "").root, Root::Below(1 << 63));
    let propagate = |text| given(&[("OTEL_PROPAGATORS", text)]).propagate;
    assert!(propagate("") && propagate("tracecontext,baggage"));
    assert!(!propagate("none") && !propagate("baggage"));
}

#[test]
fn a_batch_fits_the_queue() {
    assert_eq!(given(&[]).batch.size, 512);
    assert_eq!(given(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100")]).batch.size, 100);
    let both = [("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "101")];
    let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x")];
    assert!(read(&[&both[..], &endpoint].concat()).is_err());
}

#[test]
fn what_cannot_be_is_named_without_what_may_be_secret() {
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "1"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector/"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:hush@collector/"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=hush"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hush%0A"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=hush"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_PROPAGATORS", "b3"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
    ] {
        let endpoint = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://x")];
        let error = read(&[&[(name, value)][..], &endpoint].concat()).err().unwrap().to_string();
        assert!(error.contains(name) && !error.contains("hush"), "{error}");
    }
    let ratio = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    let error = read(&[&ratio[..], &[("OTEL_TRACES_EXPORTER", "otlp")]].concat()).err().unwrap().to_string();
    assert!(error.contains("OTEL_TRACES_SAMPLER_ARG"), "{error}");
}

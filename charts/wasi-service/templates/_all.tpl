{{/* All objects of a service. */}}
{{- define "wasi-service.all" -}}
{{- range list "service-account" "config-map" "deployment" "service" "horizontal-pod-autoscaler" "pod-disruption-budget" "mesh" }}
{{- with include (printf "wasi-service.%s" .) $ | trim }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* A PrometheusRule: the alerts of every service, then the chart's own in its alerts.yaml. */}}
{{- define "wanwu.prometheus-rule" -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  groups:
    - name: {{ .Chart.Name }}
      rules:
        {{- include "wanwu.common-alerts" . | nindent 8 }}
        {{- range (.Files.Get "alerts.yaml" | fromYaml).alerts }}
        - alert: {{ .alert }}
          expr: {{ .expr | quote }}
          {{- with .for }}
          for: {{ . }}
          {{- end }}
          labels: {service: {{ $.Chart.Name }}, severity: {{ .severity }}}
          annotations: {summary: {{ .summary | quote }}, runbook: {{ printf "docs/RUNBOOK.md#%s" (lower .alert) | quote }}}
        {{- end }}
{{- end }}

{{- define "wanwu.common-alerts" -}}
{{- $job := printf "job=~\"(.+/)?%s\"" .Chart.Name }}
- alert: ProcessDown
  expr: {{ printf "up{%s} == 0" $job | quote }}
  for: 2m
  labels: {service: {{ .Chart.Name }}, severity: page}
  annotations: {summary: "a replica cannot be asked for its metrics", runbook: "docs/RUNBOOK.md#processdown"}
- alert: InternalErrors
  expr: {{ printf "sum(rate(wanwu_rpc_internal_errors_total{%s}[5m])) > 0.1" $job | quote }}
  for: 5m
  labels: {service: {{ .Chart.Name }}, severity: ticket}
  annotations: {summary: "calls end with an error that is ours", runbook: "docs/RUNBOOK.md#internalerrors"}
- alert: WatchUnanswered
  expr: {{ printf "sum(rate(wanwu_watch_unanswered_total{%s}[1m])) > 0" $job | quote }}
  for: 1m
  labels: {service: {{ .Chart.Name }}, severity: page}
  annotations: {summary: "calls are refused because what they depend on is not known", runbook: "docs/RUNBOOK.md#watchunanswered"}
{{- if .Values.database.enabled }}
- alert: OutboxOld
  expr: {{ printf "max(wanwu_outbox_oldest_seconds{%s}) > 30" $job | quote }}
  for: 1m
  labels: {service: {{ .Chart.Name }}, severity: page}
  annotations: {summary: "events wait for the broker", runbook: "docs/RUNBOOK.md#outboxold"}
- alert: DeadLetters
  expr: {{ printf "max(wanwu_dead_letters{%s}) > 0" $job | quote }}
  for: 5m
  labels: {service: {{ .Chart.Name }}, severity: ticket}
  annotations: {summary: "events that could not be applied wait for an operator", runbook: "docs/RUNBOOK.md#deadletters"}
{{- end }}
{{- end }}

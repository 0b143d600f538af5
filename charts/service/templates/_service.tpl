{{/* Everything that one service needs, from its values. */}}
{{- define "wanwu.service" -}}
{{- include "wanwu.check-files" . -}}
{{ include "wanwu.service-account" . }}
---
{{ include "wanwu.config-map" . }}
---
{{ include "wanwu.deployment" . }}
---
{{ include "wanwu.kubernetes-service" . }}
---
{{ include "wanwu.disruption-budget" . }}
---
{{ include "wanwu.network-policy" . }}
{{- if .Values.database.enabled }}
---
{{ include "wanwu.migration" . }}
{{- end }}
{{- if .Values.certificate.enabled }}
---
{{ include "wanwu.certificate" . }}
{{- end }}
{{- if .Values.monitoring.enabled }}
---
{{ include "wanwu.pod-monitor" . }}
---
{{ include "wanwu.prometheus-rule" . }}
{{- end }}
{{- end }}

{{- define "wanwu.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/part-of: wanwu
app.kubernetes.io/version: {{ .Values.image.tag | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "wanwu.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/part-of: wanwu
{{- end }}

{{- define "wanwu.service-account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
automountServiceAccountToken: false
{{- end }}

{{/* The whole configuration is one file; what the chart knows better is set here. */}}
{{- define "wanwu.config" -}}
{{- $set := dict
      "service" (dict "environment" .Values.environment "region" .Values.region)
      "grpc" (dict "listen" (ternary "0.0.0.0:7000" "0.0.0.0:7100" .Values.public.enabled))
      "admin" (dict "listen" "0.0.0.0:7200")
      "tls" (dict "ca_file" "/certificates/ca.crt" "cert_file" "/certificates/tls.crt" "key_file" "/certificates/tls.key") }}
{{- $peers := dict }}
{{- range .Values.network.callees }}
{{- $_ := set $peers . (printf "dns:%s:7100" .) }}
{{- end }}
{{- if $peers }}{{- $_ := set $set "peers" $peers }}{{- end }}
{{- mergeOverwrite (deepCopy .Values.config) $set | toToml }}
{{- end }}

{{- define "wanwu.config-map" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
data:
  config.toml: |
    {{- include "wanwu.config" . | nindent 4 }}
{{- end }}

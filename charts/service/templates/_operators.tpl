{{/* Resources of operators that the cluster has: each by its own switch. */}}
{{- define "wanwu.certificate" -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  secretName: {{ .Values.certificate.secretName | default (printf "%s-tls" .Chart.Name) }}
  duration: 24h
  renewBefore: 12h
  privateKey:
    algorithm: ECDSA
    rotationPolicy: Always
  usages: [digital signature, server auth, client auth]
  dnsNames: [{{ .Chart.Name | quote }}]
  uris: [{{ printf "spiffe://wanwu/%s" .Chart.Name | quote }}]
  issuerRef:
    kind: {{ .Values.certificate.issuerKind }}
    name: {{ .Values.certificate.issuerName }}
{{- end }}

{{- define "wanwu.pod-monitor" -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  selector:
    matchLabels: {{- include "wanwu.selector" . | nindent 6 }}
  podMetricsEndpoints:
    - port: admin
      path: /metrics
      interval: 15s
{{- end }}

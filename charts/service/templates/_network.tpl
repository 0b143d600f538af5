{{/* gRPC clients balance by themselves: they need every pod's address, so the service is headless. */}}
{{- define "wanwu.kubernetes-service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  {{- if .Values.public.enabled }}
  type: ClusterIP
  {{- else }}
  clusterIP: None
  {{- end }}
  selector: {{- include "wanwu.selector" . | nindent 4 }}
  ports:
    {{- if .Values.public.enabled }}
    - name: public
      port: 80
      targetPort: public
    {{- else }}
    - name: grpc
      port: 7100
      targetPort: grpc
    {{- end }}
{{- end }}

{{- define "wanwu.disruption-budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "wanwu.selector" . | nindent 6 }}
{{- end }}

{{/* Everything that is not in the call graph is refused. Mutual TLS is the real control; this is
     the second. */}}
{{- define "wanwu.network-policy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "wanwu.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- range .Values.network.callers }}
    - from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {{ . }}
              app.kubernetes.io/part-of: wanwu
      ports:
        - {protocol: TCP, port: 7100}
    {{- end }}
    {{- if .Values.public.enabled }}
    - from:
        - namespaceSelector:
            matchLabels: {{- toYaml .Values.public.ingressNamespaceLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: 7000}
    {{- end }}
    - from:
        - namespaceSelector:
            matchLabels: {{- toYaml .Values.monitoring.namespaceLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: 7200}
  egress:
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: kube-system
          podSelector:
            matchLabels:
              k8s-app: kube-dns
      ports:
        - {protocol: UDP, port: 53}
        - {protocol: TCP, port: 53}
    {{- range .Values.network.callees }}
    - to:
        - podSelector:
            matchLabels:
              app.kubernetes.io/name: {{ . }}
              app.kubernetes.io/part-of: wanwu
      ports:
        - {protocol: TCP, port: 7100}
    {{- end }}
    {{- if .Values.database.enabled }}
    - to:
        - podSelector:
            matchLabels: {{- toYaml .Values.database.podLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: 5432}
    {{- end }}
    {{- if .Values.broker.enabled }}
    - to:
        - podSelector:
            matchLabels: {{- toYaml .Values.broker.podLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: 5671}
    {{- end }}
    {{- if .Values.telemetry.enabled }}
    - to:
        - namespaceSelector:
            matchLabels: {{- toYaml .Values.telemetry.namespaceLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: 4317}
    {{- end }}
    {{- range .Values.network.engines }}
    - to:
        - namespaceSelector:
            matchLabels: {{- toYaml .namespaceLabels | nindent 14 }}
          podSelector:
            matchLabels: {{- toYaml .podLabels | nindent 14 }}
      ports:
        - {protocol: TCP, port: {{ .port }}}
    {{- end }}
    {{- range .Values.network.providers }}
    - to:
        - ipBlock:
            cidr: {{ .cidr }}
      ports:
        - {protocol: TCP, port: {{ .port }}}
    {{- end }}
{{- end }}

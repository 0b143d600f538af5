{{/* The database is migrated before new pods start; the version before runs on the new schema. */}}
{{- define "wanwu.migration" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Chart.Name }}-migrate
  labels: {{- include "wanwu.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "-5"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
data:
  config.toml: |
    {{- include "wanwu.config" . | nindent 4 }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Chart.Name }}-migrate
  labels: {{- include "wanwu.labels" . | nindent 4 }}
  annotations:
    helm.sh/hook: pre-install,pre-upgrade
    helm.sh/hook-weight: "0"
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 600
  template:
    metadata:
      labels:
        {{- include "wanwu.selector" . | nindent 8 }}
        app.kubernetes.io/component: migration
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      enableServiceLinks: false
      securityContext: {{- include "wanwu.pod-security" . | nindent 8 }}
      affinity: {{- include "wanwu.affinity" . | nindent 8 }}
      containers:
        - name: migrate
          image: {{ include "wanwu.image" . | quote }}
          args: ["--config", "/config/config.toml", "migrate"]
          resources: {{- toYaml .Values.resources | nindent 12 }}
          securityContext: {{- include "wanwu.container-security" . | nindent 12 }}
          volumeMounts: {{- include "wanwu.mounts" . | nindent 12 }}
      volumes:
        - name: config
          configMap:
            name: {{ .Chart.Name }}-migrate
        {{- include "wanwu.volumes" . | nindent 8 }}
{{- end }}

{{- define "wanwu.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Chart.Name }}
  labels: {{- include "wanwu.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels: {{- include "wanwu.selector" . | nindent 6 }}
  strategy:
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  template:
    metadata:
      labels: {{- include "wanwu.labels" . | nindent 8 }}
      annotations:
        wanwu.cn/config-sha256: {{ include "wanwu.config" . | sha256sum }}
    spec:
      serviceAccountName: {{ .Chart.Name }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      # The drain's hard end is 25 s after the pre-stop pause.
      terminationGracePeriodSeconds: 40
      securityContext: {{- include "wanwu.pod-security" . | nindent 8 }}
      affinity: {{- include "wanwu.affinity" . | nindent 8 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: topology.kubernetes.io/zone
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "wanwu.selector" . | nindent 14 }}
      containers:
        - name: {{ .Chart.Name }}
          image: {{ include "wanwu.image" . | quote }}
          imagePullPolicy: IfNotPresent
          args: ["--config", "/config/config.toml", "serve"]
          ports:
            {{- if .Values.public.enabled }}
            - name: public
              containerPort: 7000
            {{- else }}
            - name: grpc
              containerPort: 7100
            {{- end }}
            - name: admin
              containerPort: 7200
          startupProbe:
            httpGet: {path: /live, port: admin}
            periodSeconds: 1
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /live, port: admin}
            periodSeconds: 10
            failureThreshold: 3
          readinessProbe:
            httpGet: {path: /ready, port: admin}
            periodSeconds: 2
            failureThreshold: 2
          lifecycle:
            # Endpoints are taken out a while after the pod is told to stop: go on serving till then.
            preStop:
              sleep:
                seconds: 8
          resources: {{- toYaml .Values.resources | nindent 12 }}
          securityContext: {{- include "wanwu.container-security" . | nindent 12 }}
          volumeMounts: {{- include "wanwu.mounts" . | nindent 12 }}
      volumes:
        - name: config
          configMap:
            name: {{ .Chart.Name }}
        {{- include "wanwu.volumes" . | nindent 8 }}
{{- end }}

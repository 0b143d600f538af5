{{/* What the serving pods and the migration's pod have in common. */}}
{{- define "wanwu.pod-security" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "wanwu.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end }}

{{/* Personal data stays on mainland ground: pods run only in the region's zones. */}}
{{- define "wanwu.affinity" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - key: topology.kubernetes.io/region
            operator: In
            values: [{{ .Values.region | quote }}]
{{- end }}

{{- define "wanwu.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag }}{{ end }}
{{- end }}

{{- define "wanwu.mounts" -}}
- name: config
  mountPath: /config
  readOnly: true
- name: certificates
  mountPath: /certificates
  readOnly: true
- name: secrets
  mountPath: /secrets
  readOnly: true
{{- range $name, $_ := .Values.files }}
- name: files-{{ $name }}
  mountPath: /files/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}

{{/* What the configuration names at /files has to be in `files`: refused here, before a pod starts without it. */}}
{{- define "wanwu.check-files" -}}
{{- range regexFindAll "[\":]/files/[^/\"]*" (include "wanwu.config" .) -1 }}
{{- $name := regexReplaceAll "^./files/" . "" }}
{{- if not (hasKey ($.Values.files | default dict) $name) }}
{{- fail (printf "config names /files/%s, and files.%s is not set" $name $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "wanwu.volumes" -}}
- name: certificates
  secret:
    secretName: {{ .Values.certificate.secretName | default (printf "%s-tls" .Chart.Name) }}
- name: secrets
  secret:
    secretName: {{ .Values.secretName | default .Chart.Name }}
{{- range $name, $source := .Values.files }}
- name: files-{{ $name }}
  {{- toYaml $source | nindent 2 }}
{{- end }}
{{- end }}

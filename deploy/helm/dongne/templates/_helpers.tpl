{{- define "dongne.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "dongne.labels" -}}
app.kubernetes.io/name: dongne
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Who a pod is: the role, and its colour where there are two. A list of root and role. */}}
{{- define "dongne.pod" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: dongne
app.kubernetes.io/component: {{ index . 1 }}
{{- if $root.Values.roles.colour }}
dongne/colour: {{ $root.Values.roles.colour }}
{{- end }}
{{- end -}}

{{- define "dongne.name" -}}
{{- $root := index . 0 -}}
{{ printf "dongne-%s%s" (index . 1) (ternary (printf "-%s" $root.Values.roles.colour) "" (ne $root.Values.roles.colour "")) }}
{{- end -}}

{{/* Plain settings, and one NAME_FILE a secret. A list of root and role (or migrate). */}}
{{- define "dongne.environment" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $own := dict -}}
{{- if hasKey $root.Values $role }}{{ $own = (index $root.Values $role).environment }}{{ end -}}
{{- $plain := merge (dict "APP_VERSION" ($root.Values.image.tag | default $root.Chart.AppVersion)) $own $root.Values.environment -}}
{{- $keys := $root.Values.secrets.keys -}}
{{- if eq $role "worker" }}{{ $keys = merge (dict) $keys $root.Values.secrets.worker }}{{ end -}}
{{- if $root.Values.pgbouncer.enabled }}
{{- $_ := set $plain "DB_STATEMENT_CACHE" "0" -}}
{{- $keys = merge (dict "DATABASE_URL" $root.Values.pgbouncer.urlKey "DATABASE_DIRECT_URL" $root.Values.secrets.keys.DATABASE_URL) $keys -}}
{{- end -}}
{{- range $name, $value := $plain }}
{{- if $value }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- range $name, $key := $keys }}
- {name: {{ $name }}_FILE, value: /run/secrets/dongne/{{ $key }}}
{{- end }}
{{- end -}}

{{/* Only the keys that this role reads: the workers' providers are not the hub's to know. */}}
{{- define "dongne.volumes" -}}
{{- $root := index . 0 -}}
{{- $keys := values $root.Values.secrets.keys -}}
{{- if eq (index . 1) "worker" }}{{ $keys = concat $keys (values $root.Values.secrets.worker) }}{{ end -}}
{{- if $root.Values.pgbouncer.enabled }}{{ $keys = append $keys $root.Values.pgbouncer.urlKey }}{{ end -}}
- name: secrets
  secret:
    secretName: {{ $root.Values.secrets.name }}
    defaultMode: 0440
    items:
      {{- range $key := $keys | uniq | sortAlpha }}
      - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- end -}}

{{- define "dongne.mounts" -}}
- {name: secrets, mountPath: /run/secrets/dongne, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- end -}}

{{- define "dongne.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1001
runAsGroup: 1001
fsGroup: 1001
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "dongne.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

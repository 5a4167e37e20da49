//! The functions that matter, by their dotted names.

use super::value::Taint;

/// What a function does with its arguments, or where its result comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs text as Python code.
    Exec,
    /// Gives a code object for text.
    Compile,
    /// Makes a function of a code object.
    CodeToFunction,
    /// Imports the module that its text names.
    Import,
    /// Takes the attribute that its text names.
    GetAttribute,
    /// The names of a module or object, by text.
    Namespace,
    /// The result is the argument, decoded.
    Decode(Taint),
    /// Turns a text around.
    Reverse,
    /// `codecs.decode`: the second argument names the codec.
    CodecDecode,
    /// Loads a code object; says nothing by itself when it comes from a file.
    Unmarshal,
    /// Starts a program or a shell command.
    Process,
    /// Fetches from the network; arguments are sent.
    Fetch,
    /// Fetches into the file that the second argument names.
    FetchFile,
    /// Makes a network connection, which is a socket.
    Connect,
    /// Looks up a host name, which can carry data out.
    Lookup,
    /// Opens a file.
    Open,
    /// Copies or lists files.
    FileRead,
    /// Copies between open files: from the first argument into the second.
    CopyFile,
    /// The result is made of the arguments.
    Pass,
    /// Path text: the arguments, joined by `/`.
    JoinPath,
    /// The result names machine or user.
    Host,
    /// Duplicates a file descriptor.
    Duplicate,
    /// Starts a program on a terminal.
    Terminal,
    /// Runs a function later or in a thread.
    Later,
    /// A character by its number.
    Character,
    /// Bytes from numbers or text.
    Bytes,
    /// Applies its first argument to the others.
    Map,
    /// Makes an object whose methods are named like this.
    Object,
    /// Marks memory as code.
    FunctionPointer,
    /// Maps memory.
    MapMemory,
    /// `setuptools.setup`.
    Setup,
    /// Loads a pickle, which can run code.
    Load,
    /// Loads a native library.
    LoadLibrary,
    /// Loads the source file that its second argument names.
    LoadSource,
    /// Adds to the folders that modules are imported from.
    SearchPath,
    /// `pip`, called as a function.
    Pip,
    /// Runs the module that its text names.
    RunModule,
    /// Gives its first argument.
    Same,
    /// A function with some of its arguments.
    Partial,
    /// A part of a path.
    Folder,
    /// The folder of a package.
    Resources,
    /// Reads a file of a package: package, name.
    Resource,
    /// Where packages are installed.
    SitePackages,
    /// The same, as a list.
    SitePackagesList,
    /// An obfuscator's run-time library.
    Packer,
    /// Reads the clipboard.
    Paste,
    /// Writes the clipboard.
    Copy,
}

/// Names that need no import.
pub(super) const BUILTINS: &[&str] = &[
    "__import__",
    "bytearray",
    "bytes",
    "chr",
    "classmethod",
    "compile",
    "dict",
    "enumerate",
    "eval",
    "filter",
    "iter",
    "exec",
    "execfile",
    "getattr",
    "globals",
    "list",
    "locals",
    "map",
    "open",
    "repr",
    "reversed",
    "setattr",
    "sorted",
    "staticmethod",
    "str",
    "tuple",
    "unichr",
    "vars",
    "zip",
    "__loader__",
    "__pyarmor__",
];

/// The role of the function or class with this dotted name.
pub(super) fn role(path: &str) -> Option<Role> {
    let path = path.strip_prefix("six.moves.").unwrap_or(path);
    let role = match path {
        "builtins.exec"
        | "builtins.eval"
        | "builtins.execfile"
        | "code.InteractiveInterpreter.runcode"
        | "code.InteractiveInterpreter.runsource"
        | "code.InteractiveConsole.push"
        | "js2py.eval_js" => Role::Exec,
        "builtins.compile" | "codeop.compile_command" => Role::Compile,
        "types.FunctionType" | "types.LambdaType" => Role::CodeToFunction,
        "builtins.__import__" | "importlib.import_module" | "importlib.__import__" => Role::Import,
        "builtins.getattr" | "inspect.getattr_static" => Role::GetAttribute,
        "builtins.globals" | "builtins.locals" | "builtins.vars" => Role::Namespace,

        "base64.b64decode"
        | "base64.b32decode"
        | "base64.b16decode"
        | "base64.b85decode"
        | "base64.a85decode"
        | "base64.urlsafe_b64decode"
        | "base64.standard_b64decode"
        | "base64.decodebytes"
        | "base64.decodestring"
        | "base64.z85decode"
        | "binascii.unhexlify"
        | "binascii.a2b_hex"
        | "binascii.a2b_base64"
        | "binascii.a2b_uu"
        | "binascii.a2b_qp"
        | "binascii.rledecode_hqx"
        | "builtins.bytes.fromhex"
        | "builtins.bytearray.fromhex"
        | "codecs.escape_decode"
        | "quopri.decodestring" => Role::Decode(Taint::DECODED),
        "zlib.decompress"
        | "gzip.decompress"
        | "bz2.decompress"
        | "lzma.decompress"
        | "zstandard.decompress"
        | "brotli.decompress"
        | "lz4.frame.decompress"
        | "snappy.decompress" => Role::Decode(Taint::DECODED),
        "codecs.decode" | "codecs.getdecoder" => Role::CodecDecode,
        "marshal.loads" => Role::Unmarshal,

        "os.system"
        | "os.popen"
        | "os.popen2"
        | "os.popen3"
        | "os.popen4"
        | "os.startfile"
        | "os.execl"
        | "os.execle"
        | "os.execlp"
        | "os.execlpe"
        | "os.execv"
        | "os.execve"
        | "os.execvp"
        | "os.execvpe"
        | "os.spawnl"
        | "os.spawnle"
        | "os.spawnlp"
        | "os.spawnlpe"
        | "os.spawnv"
        | "os.spawnve"
        | "os.spawnvp"
        | "os.spawnvpe"
        | "os.posix_spawn"
        | "os.posix_spawnp"
        | "posix.system"
        | "nt.system"
        | "nt.startfile"
        | "subprocess.call"
        | "subprocess.check_call"
        | "subprocess.check_output"
        | "subprocess.getoutput"
        | "subprocess.getstatusoutput"
        | "subprocess.Popen"
        | "subprocess.run"
        | "subprocess.os.system"
        | "popen2.popen2"
        | "popen2.popen3"
        | "popen2.Popen3"
        | "commands.getoutput"
        | "commands.getstatusoutput"
        | "asyncio.create_subprocess_shell"
        | "asyncio.create_subprocess_exec"
        | "asyncio.subprocess.create_subprocess_shell"
        | "asyncio.subprocess.create_subprocess_exec"
        | "platform.popen"
        | "ctypes.CDLL.system"
        | "ctypes.CDLL.popen"
        | "ctypes.cdll.msvcrt.system"
        | "ctypes.windll.msvcrt.system"
        | "win32api.WinExec"
        | "win32api.ShellExecute"
        | "ctypes.windll.shell32.ShellExecuteW"
        | "ctypes.windll.shell32.ShellExecuteA"
        | "runpy.run_path"
        | "distutils.spawn.spawn"
        | "setuptools.distutils.spawn.spawn"
        | "_winapi.CreateProcess"
        | "_posixsubprocess.fork_exec" => Role::Process,
        "pty.spawn" => Role::Terminal,
        "pickle.load" | "pickle.loads" | "_pickle.load" | "_pickle.loads" | "cPickle.load" | "cPickle.loads"
        | "dill.load" | "dill.loads" | "cloudpickle.load" | "cloudpickle.loads" | "joblib.load"
        | "pandas.read_pickle" | "yaml.unsafe_load" => Role::Load,
        "ctypes.CDLL"
        | "ctypes.PyDLL"
        | "ctypes.WinDLL"
        | "ctypes.OleDLL"
        | "ctypes.cdll.LoadLibrary"
        | "ctypes.windll.LoadLibrary"
        | "cffi.FFI.dlopen" => Role::LoadLibrary,
        "importlib.machinery.SourceFileLoader" | "importlib.util.spec_from_file_location" | "imp.load_source" => {
            Role::LoadSource
        }
        "sys.path.insert" | "sys.path.append" => Role::SearchPath,
        "pip.main" | "pip._internal.main" | "pip._internal.cli.main.main" | "pip._internal.main.main" => Role::Pip,
        "runpy.run_module" => Role::RunModule,
        "builtins.staticmethod" | "builtins.classmethod" => Role::Same,
        "functools.partial" => Role::Partial,
        "os.path.dirname" | "os.path.split" => Role::Folder,
        "importlib.resources.files" | "importlib_resources.files" => Role::Resources,
        "importlib.resources.read_text"
        | "importlib.resources.read_binary"
        | "importlib.resources.open_text"
        | "importlib.resources.open_binary"
        | "pkgutil.get_data" => Role::Resource,
        "site.getusersitepackages" | "sysconfig.get_path" | "distutils.sysconfig.get_python_lib" => Role::SitePackages,
        "site.getsitepackages" => Role::SitePackagesList,
        "os.dup2" => Role::Duplicate,

        "urllib.request.urlopen"
        | "urllib.urlopen"
        | "urllib2.urlopen"
        | "urllib.request.Request"
        | "urllib2.Request"
        | "urllib.request.URLopener.open"
        | "urllib.request.OpenerDirector.open"
        | "urllib3.request"
        | "urllib3.PoolManager.request"
        | "urllib3.PoolManager.urlopen"
        | "urllib3.HTTPSConnectionPool.request"
        | "http.client.HTTPConnection.request"
        | "http.client.HTTPSConnection.request"
        | "httplib.HTTPSConnection.request"
        | "http.client.HTTPConnection.getresponse"
        | "http.client.HTTPSConnection.getresponse"
        | "httplib.HTTPConnection.request"
        | "smtplib.SMTP.sendmail"
        | "smtplib.SMTP.send_message"
        | "smtplib.SMTP_SSL.sendmail"
        | "smtplib.SMTP_SSL.send_message"
        | "ftplib.FTP.storbinary"
        | "ftplib.FTP.retrbinary"
        | "ftplib.FTP"
        | "ftplib.FTP_TLS"
        | "smtplib.SMTP"
        | "smtplib.SMTP_SSL"
        | "websocket.create_connection"
        | "websockets.connect"
        | "xmlrpc.client.ServerProxy"
        | "paramiko.SSHClient.connect"
        | "pycurl.Curl.perform"
        | "dns.resolver.resolve"
        | "dns.resolver.query"
        | "dns.resolver.Resolver.resolve" => Role::Fetch,
        "urllib.request.urlretrieve"
        | "urllib.urlretrieve"
        | "urllib.URLopener.retrieve"
        | "wget.download"
        | "urllib.request.URLopener.retrieve" => Role::FetchFile,
        "socket.socket.connect"
        | "socket.socket.connect_ex"
        | "socket.create_connection"
        | "asyncio.open_connection"
        | "multiprocessing.connection.Client" => Role::Connect,
        "socket.gethostbyname" | "socket.gethostbyname_ex" | "socket.getaddrinfo" => Role::Lookup,
        "socket.socket"
        | "_socket.socket"
        | "requests.Session"
        | "requests.session"
        | "requests.sessions.Session"
        | "httpx.Client"
        | "httpx.AsyncClient"
        | "aiohttp.ClientSession"
        | "urllib3.PoolManager"
        | "http.client.HTTPConnection"
        | "http.client.HTTPSConnection"
        | "httplib.HTTPConnection"
        | "httplib.HTTPSConnection"
        | "urllib3.HTTPSConnectionPool"
        | "urllib.request.URLopener"
        | "urllib.request.FancyURLopener"
        | "urllib.URLopener"
        | "urllib.request.build_opener"
        | "urllib2.build_opener"
        | "code.InteractiveInterpreter"
        | "code.InteractiveConsole"
        | "paramiko.SSHClient"
        | "pycurl.Curl"
        | "zipfile.ZipFile"
        | "tarfile.open"
        | "cffi.FFI"
        | "dns.resolver.Resolver" => Role::Object,

        "builtins.open" | "io.open" | "codecs.open" | "os.open" | "os.fdopen" | "io.FileIO" | "aiofiles.open" => {
            Role::Open
        }
        "shutil.copy"
        | "shutil.copy2"
        | "shutil.copyfile"
        | "shutil.copytree"
        | "zipfile.ZipFile.write"
        | "os.listdir"
        | "glob.glob"
        | "shutil.make_archive"
        | "sqlite3.connect"
        | "shutil.move" => Role::FileRead,
        "shutil.copyfileobj" => Role::CopyFile,
        "os.path.join"
        | "posixpath.join"
        | "ntpath.join"
        | "pathlib.Path"
        | "pathlib.PurePath"
        | "pathlib.PosixPath"
        | "pathlib.WindowsPath"
        | "pathlib.Path.joinpath" => Role::JoinPath,

        "re.findall"
        | "re.finditer"
        | "re.search"
        | "re.match"
        | "re.sub"
        | "builtins.enumerate"
        | "builtins.filter"
        | "builtins.iter"
        | "builtins.zip"
        | "itertools.cycle"
        | "itertools.chain"
        | "builtins.str"
        | "builtins.repr"
        | "builtins.list"
        | "builtins.tuple"
        | "builtins.dict"
        | "builtins.sorted"
        | "json.dumps"
        | "json.loads"
        | "json.load"
        | "json.dump"
        | "urllib.parse.quote"
        | "urllib.parse.quote_plus"
        | "urllib.parse.urlencode"
        | "urllib.parse.unquote"
        | "urllib.quote"
        | "urllib.urlencode"
        | "base64.b64encode"
        | "base64.urlsafe_b64encode"
        | "base64.b32encode"
        | "base64.b16encode"
        | "base64.b85encode"
        | "base64.encodebytes"
        | "binascii.hexlify"
        | "zlib.compress"
        | "gzip.compress"
        | "pickle.dumps"
        | "io.BytesIO"
        | "io.StringIO"
        | "StringIO.StringIO"
        | "cStringIO.StringIO"
        | "os.path.expanduser"
        | "os.path.expandvars"
        | "os.path.abspath"
        | "os.path.normpath"
        | "os.path.realpath"
        | "textwrap.dedent"
        | "copy.copy"
        | "copy.deepcopy"
        | "pprint.pformat"
        | "io.TextIOWrapper"
        | "os.fspath"
        | "str.format"
        | "shlex.split"
        | "shlex.quote"
        | "gzip.GzipFile"
        | "email.mime.text.MIMEText"
        | "yaml.dump"
        | "csv.reader" => Role::Pass,
        "builtins.reversed" => Role::Reverse,
        "builtins.chr" | "builtins.unichr" => Role::Character,
        "builtins.bytes" | "builtins.bytearray" => Role::Bytes,
        "builtins.map" => Role::Map,

        "getpass.getuser" | "socket.gethostname" | "socket.getfqdn" | "platform.node" | "platform.uname"
        | "os.uname" | "os.getlogin" | "platform.platform" | "uuid.getnode" => Role::Host,
        "threading.Thread"
        | "threading.Timer"
        | "multiprocessing.Process"
        | "atexit.register"
        | "asyncio.run"
        | "_thread.start_new_thread"
        | "thread.start_new_thread"
        | "concurrent.futures.ThreadPoolExecutor.submit"
        | "asyncio.create_task"
        | "asyncio.ensure_future" => Role::Later,
        "ctypes.CFUNCTYPE" | "ctypes.WINFUNCTYPE" | "ctypes.PYFUNCTYPE" => Role::FunctionPointer,
        "mmap.mmap" => Role::MapMemory,
        "setuptools.setup" | "distutils.core.setup" | "numpy.distutils.core.setup" | "skbuild.setup" => Role::Setup,
        "pytransform.pyarmor_runtime"
        | "pytransform.pyarmor"
        | "sourcedefender.decrypt"
        | "builtins.__pyarmor__"
        | "builtins.pyarmor_runtime" => Role::Packer,
        "pyperclip.paste" | "clipboard.paste" | "win32clipboard.GetClipboardData" | "pandas.io.clipboard.paste" => {
            Role::Paste
        }
        "pyperclip.copy" | "clipboard.copy" | "win32clipboard.SetClipboardText" | "win32clipboard.SetClipboardData" => {
            Role::Copy
        }
        _ => return prefix_role(path),
    };
    Some(role)
}

/// Libraries whose functions all do the same.
fn prefix_role(path: &str) -> Option<Role> {
    let (module, name) = path.rsplit_once('.')?;
    match module {
        "requests"
        | "httpx"
        | "requests.api"
        | "requests.Session"
        | "requests.session"
        | "requests.sessions.Session"
        | "httpx.Client"
        | "httpx.AsyncClient"
        | "aiohttp.ClientSession"
            if matches!(
                name,
                "get"
                    | "post"
                    | "put"
                    | "patch"
                    | "delete"
                    | "head"
                    | "options"
                    | "request"
                    | "stream"
                    | "send"
                    | "ws_connect"
            ) =>
        {
            Some(Role::Fetch)
        }
        "urllib.request.build_opener" | "urllib2.build_opener" if name == "open" => Some(Role::Fetch),
        _ if module.starts_with("pyarmor_runtime") && name == "__pyarmor__" => Some(Role::Packer),
        _ => None,
    }
}

/// What a method does, on an object of which nothing is known but its name.
pub(super) fn method_taint(name: &str) -> Taint {
    match name {
        "decrypt" | "decrypt_and_verify" | "b64decode" | "unhexlify" | "fromhex" => Taint::DECODED,
        _ => Taint::NONE,
    }
}

/// Decorators of tools that run a function later, by their module.
pub(super) const DEFERRING: &[&str] = &[
    "airflow.",
    "celery.",
    "click.",
    "contextlib.",
    "dagster.",
    "invoke.",
    "kfp.",
    "metaflow.",
    "prefect.",
    "pytest.",
];

/// Text codecs that turn one ASCII text into another.
pub(super) fn is_hiding_codec(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    matches!(
        plain.as_str(),
        "rot13"
            | "hex"
            | "hexcodec"
            | "base64"
            | "base64codec"
            | "zip"
            | "zlib"
            | "zlibcodec"
            | "bz2"
            | "bz2codec"
            | "uu"
            | "uucodec"
            | "quopri"
            | "utf7"
            | "punycode"
    )
}

/// Win32 and libc functions by which machine code is put into memory, and started.
pub(super) fn shellcode_step(name: &str) -> Option<Shellcode> {
    match name {
        "VirtualAlloc"
        | "VirtualAllocEx"
        | "VirtualProtect"
        | "VirtualProtectEx"
        | "NtAllocateVirtualMemory"
        | "mprotect" => Some(Shellcode::Allocate),
        "CreateThread"
        | "CreateRemoteThread"
        | "CreateRemoteThreadEx"
        | "NtCreateThreadEx"
        | "RtlCreateUserThread"
        | "QueueUserAPC"
        | "WriteProcessMemory"
        | "NtWriteVirtualMemory"
        | "EnumSystemLocalesA"
        | "EnumDesktopsW"
        | "NtQueueApcThread"
        | "SetThreadContext" => Some(Shellcode::Start),
        _ => None,
    }
}

/// A step of running machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shellcode {
    /// Memory that can be run.
    Allocate,
    /// Starts it, or writes it into another process.
    Start,
}

